"""SciPy's L-BFGS-B, one row after the other, with the settings of the papers' code: the reference.

m = 25, factr = 10, pixel bounds [−x, 1−x], start U(−1e−8, 1e−8) (Tabacof et al. 2016; Gondim-Ribeiro et al.
2018; Barrett et al. 2022). SciPy works in float64; the network in the precision of ``x``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaepipe.attacks.solvers.solution import Solution, ValueAndGrad

MEMORY, FACTR = 25, 10
NEAR = 1e-8
"""Largest distance of the start from d = 0, per pixel."""


def minimise(
    value_and_grad: ValueAndGrad,
    x: Tensor,
    lambda_: Tensor,
    *,
    start: Tensor | None = None,
    initial: Tensor | None = None,
    **_: Any,
) -> Solution:
    """Minimise every row's objective, see `vaepipe.attacks.solvers`; other options are ignored."""
    rows = []
    for r in range(len(x)):
        distortion = None if start is None else start[r] - x[r]
        rows.append(_minimise_row(value_and_grad, x[r], float(lambda_[r]), r, distortion))
    columns = (torch.stack([torch.as_tensor(v, device=x.device) for v in column]) for column in zip(*rows))
    solution = Solution(*columns)
    for name in ("u", "divergence", "objective", "norm", "initial_divergence", "residual"):
        setattr(solution, name, getattr(solution, name).to(x))
    solution.iterations = solution.iterations.int()
    return solution


def _minimise_row(
    value_and_grad: ValueAndGrad, x: Tensor, lambda_: float, row: int, start: Tensor | None
) -> tuple[Any, ...]:
    """The fields of `Solution` of one row: image ``x`` (n,), first distortion ``start`` (n,) or near 0."""
    # takes half a second, which jobs of the batched solver need not spend
    from scipy.optimize import fmin_l_bfgs_b

    flat = x.double().cpu().numpy()
    index = torch.tensor([row], device=x.device)

    def divergence(d: np.ndarray) -> tuple[float, np.ndarray]:
        u = torch.from_numpy((flat + d).clip(0, 1)).to(x)[None]
        value, grad = value_and_grad(u, index)
        return float(value), grad[0].double().cpu().numpy()

    def objective(d: np.ndarray) -> tuple[Any, np.ndarray]:
        value, grad = divergence(d)
        norm = np.linalg.norm(d)
        return value + lambda_ * norm, grad + lambda_ * d / np.maximum(norm, 1e-300)

    near = np.random.default_rng(0).uniform(-NEAR, NEAR, flat.size)
    first = near if start is None else start.double().cpu().numpy()
    bounds = list(zip(-flat, 1 - flat))
    d, value, info = fmin_l_bfgs_b(
        objective, first.clip(-flat, 1 - flat), bounds=bounds, m=MEMORY, factr=FACTR
    )
    norm = np.linalg.norm(d)
    residual = np.linalg.norm((d - info["grad"]).clip(-flat, 1 - flat) - d)
    initial = divergence(np.zeros_like(d))[0]
    u = (flat + d).clip(0, 1)
    return u, value - lambda_ * norm, value, norm, initial, info["funcalls"], info["warnflag"] == 0, residual
