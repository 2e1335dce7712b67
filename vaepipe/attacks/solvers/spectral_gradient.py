"""Spectral projected gradient: minimise φ(x + d) over ‖d‖ ≤ ε with x + d in [0,1]ⁿ, the norm L2 or L∞.

The method of Birgin, Martínez and Raydan (2000). Step lengths come from the last step and its change of the
gradient (Barzilai and Borwein 1988). Steps are projected onto ball and box at once, which is exact here. The
line search is nonmonotone: the objective may rise for a while. Each row has its own, and its best point is
returned.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vaepipe.attacks.solvers.line_search import shorter_step, sufficient_decrease
from vaepipe.attacks.solvers.projections import PROJECTIONS, norm_of
from vaepipe.attacks.solvers.solution import ValueAndGrad
from vaepipe.attacks.solvers.vectors import dot_float64
from vaepipe.attacks.solvers.window import Window

WINDOW = 8
"""Accepted values; a step has to stay below the highest of them."""
SHORTEST = 1e-6
"""Share of a step below which any finite value is accepted: at a kink no length may be enough."""
SPAN = 1e6
"""Largest ratio of a step length, per gradient, to the first one, and of the first one to it."""


def descend(
    value_and_grad: ValueAndGrad, x: Tensor, start: Tensor, radius: Tensor, norm: str, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Minimise every row's φ(x + d).

    Args:
        value_and_grad: as in `vaepipe.attacks.solvers`; always called with B rows.
        x: (B, n) in [0,1], the images.
        start: (B, n) first distortions, projected before use.
        radius: (B,) positive, ε.
        norm: of the ball, a key of `PROJECTIONS`.
        steps: evaluations after the first.

    Returns:
        Best d (B, n), φ there (B,), φ at the projected start (B,). Where φ is not finite it is infinite.
    """
    low, high, row = -x, 1 - x, torch.arange(len(x), device=x.device)

    def evaluate(d: Tensor) -> tuple[Tensor, Tensor]:
        value, grad = value_and_grad((x + d).clamp_(0, 1), row)
        return value.nan_to_num(torch.inf, torch.inf, torch.inf), grad.nan_to_num(0, 0, 0)

    def project(v: Tensor) -> Tensor:
        return PROJECTIONS[norm](v, low, high, radius)

    d = best = project(start)
    value, grad = evaluate(d)
    first = least = value
    alpha = usual = _first_length(grad, radius, norm)
    ahead, share, window = project(d - alpha[:, None] * grad), torch.ones_like(radius), Window(value, WINDOW)
    for _ in range(steps):
        # a share is 1 or at most ½: the trial lies between d and ahead, pixel by pixel, after rounding too
        trial = torch.lerp(d, ahead, share[:, None])
        new, new_grad = evaluate(trial)
        better = (new < least) & (norm_of(trial, norm) <= radius)  # many short steps may drift by rounding
        best, least = torch.where(better[:, None], trial, best), torch.where(better, new, least)

        slope = dot_float64(grad, ahead - d).to(x).clamp(max=0)  # never counted as a step upwards
        enough = sufficient_decrease(new, window.highest(), slope, share)
        accept = enough | ((share < SHORTEST) & new.isfinite())
        shorter = shorter_step(share * slope, slope - (new - value) / share, share)
        alpha = torch.where(accept, _spectral_length(trial - d, new_grad - grad, usual), alpha)
        share = torch.where(accept, 1.0, shorter)
        window.push(new, accept)

        value, moved = torch.where(accept, new, value), accept[:, None]
        d, grad = torch.where(moved, trial, d), torch.where(moved, new_grad, grad)
        ahead = torch.where(moved, project(d - alpha[:, None] * grad), ahead)
    return best, least, first


def _first_length(grad: Tensor, radius: Tensor, norm: str) -> Tensor:
    """(B,) step length per gradient (B, n) at which the first step is as long as the ball is wide."""
    width = 2 * radius * (grad.shape[1] ** 0.5 if norm == "linf" else 1)
    return width / dot_float64(grad, grad).sqrt().to(grad).clamp(min=1e-20)


def _spectral_length(s: Tensor, y: Tensor, usual: Tensor) -> Tensor:
    """(B,) step length s·s / s·y of a step and its change of the gradient (B, n), near ``usual`` (B,)."""
    curvature = dot_float64(s, y)
    length = torch.where(curvature > 0, dot_float64(s, s) / curvature, torch.inf).to(s)
    return length.clamp(usual / SPAN, usual * SPAN)
