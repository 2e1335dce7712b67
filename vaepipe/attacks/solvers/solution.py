"""What every solver takes and returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

ValueAndGrad = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(u (B, n), row numbers (B,)) → (φ (B,), ∇φ (B, n)); rows do not interact."""


@dataclass
class Solution:
    """R solved rows, in the order given.

    Attributes:
        u: (R, n) in [0,1], the best point.
        divergence: (R,) φ(u).
        objective: (R,) φ(u) + λ‖u − x‖₂.
        norm: (R,) ‖u − x‖₂.
        initial_divergence: (R,) φ(x).
        iterations: (R,) int32, evaluations of φ.
        converged: (R,) bool, the row met the solver's stopping rule within its budget.
        residual: (R,) ‖P(u − g) − u‖₂, with g the objective's gradient and P the projection onto [0,1]ⁿ.
    """

    u: Tensor
    divergence: Tensor
    objective: Tensor
    norm: Tensor
    initial_divergence: Tensor
    iterations: Tensor
    converged: Tensor
    residual: Tensor

    @classmethod
    def empty(cls, x: Tensor) -> Solution:
        """A solution for the rows ``x`` (R, n), to be filled in: NaN, no iterations, not converged."""
        rows = x.shape[:1]
        u, divergence, objective, norm, initial, residual = (
            x.new_full(shape, torch.nan) for shape in (x.shape, rows, rows, rows, rows, rows)
        )
        iterations = torch.zeros(rows, dtype=torch.int32, device=x.device)
        converged = torch.zeros(rows, dtype=torch.bool, device=x.device)
        return cls(u, divergence, objective, norm, initial, iterations, converged, residual)
