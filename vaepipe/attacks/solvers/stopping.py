"""When a row has converged."""

from __future__ import annotations

import torch
from torch import Tensor

from vaepipe.attacks.solvers.slots import PerSlot
from vaepipe.attacks.solvers.window import Window

WINDOW = 5
"""Accepted steps over which the decrease is measured."""
SCALE = 0.1
"""Weight of φ(x) in the size that a decrease is compared with."""
STATIONARY = 1e-6
"""Norm of the free gradient, relative to 1 + |objective| (at most 100), below which a point is stationary."""


class Stopping(PerSlot):
    """Stopping rule of each slot.

    Attributes:
        tolerance: (A,).
        window: the last accepted objectives; infinite where there are fewer.
    """

    def __init__(self, slots: int, x: Tensor):
        """``x``: any tensor of the type and device to work in."""
        self.tolerance = x.new_zeros(slots)
        self.window = Window(x.new_full((slots,), torch.inf), WINDOW)

    def load(self, slot: Tensor, tolerance: Tensor) -> None:
        """Begin anew in these slots (K,) with these tolerances (K,)."""
        self.tolerance[slot] = tolerance
        self.window.values[slot] = torch.inf

    def converged(self, accept: Tensor, fresh: Tensor, f: Tensor, initial: Tensor, slope: Tensor) -> Tensor:
        """(A,) bool: the point is stationary, or WINDOW steps lower f by a share of its size.

        The share is the tolerance, the size |f| + SCALE × |φ(x)|.

        Args:
            accept: (A,) bool, the last step was accepted.
            fresh: (A,) bool, the last evaluation was the first.
            f, initial, slope: (A,) objective, φ(x), norm of the free gradient.
        """
        size, step = f.abs(), accept & ~fresh
        decrease = torch.where(step, self.window.push(f, step) - f, torch.inf)
        stalled = decrease <= self.tolerance * (size + initial.abs() * SCALE)
        stationary = slope <= STATIONARY * (1 + size).clamp_(max=100)
        return (accept & stationary) | stalled
