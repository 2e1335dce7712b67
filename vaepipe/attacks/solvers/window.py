"""The last accepted objective values of each row."""

from __future__ import annotations

import torch
from torch import Tensor

from vaepipe.attacks.solvers.slots import PerSlot


class Window(PerSlot):
    """The last W accepted values of each of A rows.

    Attributes:
        values: (A, W), oldest first.
    """

    def __init__(self, first: Tensor, length: int):
        """Fill all W = ``length`` places of each row with its value ``first`` (A,)."""
        self.values = first[:, None].repeat(1, length)

    def push(self, value: Tensor, accepted: Tensor) -> Tensor:
        """Append ``value`` (A,) where ``accepted`` (A,). Returns the oldest values (A,), from before."""
        before = self.values
        after = torch.cat([before[:, 1:], value[:, None]], 1)
        self.values = torch.where(accepted[:, None], after, before)
        return before[:, 0]

    def highest(self) -> Tensor:
        """(A,) largest value in the window."""
        return self.values.amax(1)
