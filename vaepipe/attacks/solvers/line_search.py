"""Backtracking line search: sufficient decrease (Armijo 1966), and shorter steps by a parabola.

Nocedal and Wright, Numerical Optimization, 2006, section 3.5.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vaepipe.attacks.solvers.slots import PerSlot

ARMIJO = 1e-4
"""Share of the predicted decrease that a step must reach."""
LEAST, MOST = 0.1, 0.5
"""Factors between which a refused step is shortened."""
BACKTRACKS = 15
"""Refused steps in a row before the search along a direction is given up."""


def sufficient_decrease(
    value: Tensor, reference: Tensor, slope: Tensor, step: float | Tensor = 1.0
) -> Tensor:
    """(A,) bool: whether ``value`` lies low enough below ``reference`` after a step of this length.

    Args:
        value, reference: (A,) objective after the step, and what it is compared with.
        slope: (A,) directional derivative where the step begins, not positive.
        step: length, one or (A,).
    """
    return value <= reference + ARMIJO * step * slope


def shorter_step(predicted: Tensor, gap: Tensor, step: float | Tensor = 1.0) -> Tensor:
    """(A,) length at the minimum of the parabola through a refused step, within LEAST and MOST × ``step``.

    Args:
        predicted: (A,) slope × step.
        gap: (A,) slope − (after − before) / step; negative where the parabola is convex.
        step: refused length, one or (A,).
    """
    minimum = (predicted / (2 * gap)).nan_to_num_(0.0)
    return minimum.clamp_(LEAST * step, MOST * step)  # type: ignore[arg-type]


class Backtracking(PerSlot):
    """Where each slot searches.

    Attributes:
        direction: (A, n).
        length: (A,) next step, as a multiple of the direction.
        refused: (A,) int32, steps refused in a row.
    """

    def __init__(self, x: Tensor):
        """``x`` (A, n): any tensor of the type and device to work in."""
        self.direction, self.length = torch.zeros_like(x), x.new_zeros(len(x))
        self.refused = torch.zeros(len(x), dtype=torch.int32, device=x.device)

    def load(self, slot: Tensor) -> None:
        """Let these slots (K,) evaluate the point where they are first."""
        self.direction[slot] = 0
        self.length[slot] = 0
        self.refused[slot] = 0

    def trial(self, u: Tensor) -> Tensor:
        """(A, n) next points from ``u`` (A, n), clipped to [0,1]."""
        return torch.addcmul(u, self.length[:, None], self.direction).clamp_(0, 1)

    def exhausted(self, accept: Tensor) -> Tensor:
        """Count the refused steps of the mask's complement; (A,) bool: more than BACKTRACKS in a row."""
        self.refused = torch.where(accept, 0, self.refused + 1)
        return self.refused > BACKTRACKS

    def restart(self, slots: Tensor) -> None:
        """Set the count of refused steps of the mask (A,) to zero."""
        self.refused = torch.where(slots, 0, self.refused)

    def advance(self, turn: Tensor, direction: Tensor, length: Tensor, shorter: Tensor) -> None:
        """Take the new direction and length where ``turn`` (A,), elsewhere ``shorter`` × the length."""
        self.direction = torch.where(turn[:, None], direction, self.direction)
        self.length = torch.where(turn, length, self.length * shorter)
