"""Nearest points of the balls that bound a distortion, within the pixels' bounds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MARGIN = 16
"""Rounding units by which an L2 ball is taken smaller, so that ‖d‖₂ ≤ ε holds after rounding too."""


def project_linf(v: Tensor, low: Tensor, high: Tensor, radius: Tensor) -> Tensor:
    """(B, n) nearest d to each ``v`` (B, n) with |d| ≤ radius (B,) and low ≤ d ≤ high; low ≤ 0 ≤ high."""
    return v.clamp(-radius[:, None], radius[:, None]).clamp(low, high)


def project_l2(v: Tensor, low: Tensor, high: Tensor, radius: Tensor) -> Tensor:
    """(B, n) nearest d to each ``v`` (B, n) with ‖d‖₂ ≤ radius (B,) and low ≤ d ≤ high; low ≤ 0 ≤ high.

    It is clip(s v, low, high) for the largest s ≤ 1 that the ball allows. With t = s², its squared norm is
    Σ min(t v², bound²), concave and piecewise linear. So Newton's steps from t = 0 rise to the solution and
    end there. They run in float64. A row is finished when no more of its entries meet their bound.
    """
    radius = radius.double() * (1 - MARGIN * torch.finfo(v.dtype).eps)
    w, least, most = v.double(), low.double(), high.double()
    square, bound = w.square(), torch.where(w > 0, most, least).square()
    t, met = torch.zeros_like(radius), torch.full_like(radius, -1, dtype=torch.long)
    while True:
        at_bound = t[:, None] * square >= bound
        now = at_bound.sum(1)
        rising = (now > met) & (t < 1)
        if not rising.any():
            return torch.minimum(torch.maximum(t.sqrt()[:, None] * w, least), most).to(v)
        room = radius.square() - torch.where(at_bound, bound, 0).sum(1)
        slope = torch.where(at_bound, 0, square).sum(1)
        newton = torch.where(slope > 0, room / slope, 1).clamp(t, torch.ones_like(t))
        t, met = torch.where(rising, newton, t), torch.where(rising, now, met)


def norm_of(d: Tensor, norm: str) -> Tensor:
    """(…) norm of ``d`` (…, n), a key of `PROJECTIONS`, in float64."""
    return torch.linalg.vector_norm(d.double(), {"l2": 2, "linf": torch.inf}[norm], dim=-1)


PROJECTIONS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "l2": project_l2,
    "linf": project_linf,
}
"""(v, low, high, radius) → d, by the norm of the ball."""
