"""Slots: the fixed number of rows that are worked on at once, and the queue that fills them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor


class PerSlot:
    """State of A slots: every tensor attribute has the slots as first axis, except those in ``shared``."""

    shared: ClassVar[tuple[str, ...]] = ()

    def keep(self, slots: Tensor) -> None:
        """Reduce the state to these slots (K,), in this order, and that of its `PerSlot` attributes."""
        for name, value in vars(self).items():
            if isinstance(value, PerSlot):
                value.keep(slots)
            elif isinstance(value, Tensor) and name not in self.shared:
                setattr(self, name, value[slots])


class RowQueue(PerSlot):
    """The rows still to come, and the row that each slot works on.

    Attributes:
        row: (A,) row number; stale in an idle slot.
        busy: (A,) bool, False in an idle slot.
    """

    def __init__(self, rows: int, slots: int, device: torch.device):
        self.rows, self.next = rows, 0
        self.row = torch.zeros(slots, dtype=torch.long, device=device)
        self.busy = torch.zeros(slots, dtype=torch.bool, device=device)

    def load(self, done: Tensor) -> tuple[Tensor, Tensor]:
        """Give the slots of the mask ``done`` (A,) the next rows; those that get none become idle.

        Returns:
            The slots that have a new row (K,), and these rows (K,).
        """
        slot = done.nonzero()[:, 0]
        self.busy[slot] = False
        slot = slot[: self.rows - self.next]
        row = torch.arange(self.next, self.next + len(slot), device=slot.device)
        self.next += len(slot)
        self.busy[slot], self.row[slot] = True, row
        return slot, row

    def remaining(self) -> Tensor | None:
        """The busy slots (K,) once at most half of the slots are busy, otherwise None."""
        if 0 < 2 * int(self.busy.sum()) <= len(self.busy):
            return self.busy.nonzero()[:, 0]
        return None
