"""The papers' solver, as the reference: SciPy's L-BFGS-B, one row after the other, with the settings of their code.

m = 25, factr = 10, pixel bounds [−x, 1−x], start U(−1e−8, 1e−8) (Tabacof et al. 2016; Gondim-Ribeiro et al. 2018; Barrett
et al. 2022). SciPy works in float64; the network in the precision of ``x``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from vaepipe.attacks.solvers.lbfgs import Solution

MEMORY, FACTR, NEAR = 25, 10, 1e-8


def minimise(
    value_and_grad: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    x: Tensor,
    lambda_: Tensor,
    *,
    start: Tensor | None = None,
    initial: Tensor | None = None,
    **_,
) -> Solution:
    """As `vaepipe.attacks.solvers.lbfgs.minimise`; its options do not apply."""
    rows = [_one(value_and_grad, x[r], float(lambda_[r]), r, None if start is None else start[r] - x[r]) for r in range(len(x))]
    found = Solution(*(torch.stack([torch.as_tensor(v, device=x.device) for v in column]) for column in zip(*rows)))
    for name in ("u", "divergence", "objective", "norm", "initial_divergence", "residual"):
        setattr(found, name, getattr(found, name).to(x))
    found.iterations = found.iterations.int()
    return found


def _one(value_and_grad, x: Tensor, lambda_: float, row: int, start: Tensor | None) -> tuple:
    from scipy.optimize import fmin_l_bfgs_b  # half a second, which every job of the batched solver would pay

    flat = x.double().cpu().numpy()
    index = torch.tensor([row], device=x.device)

    def divergence(d: np.ndarray) -> tuple[float, np.ndarray]:
        u = torch.from_numpy((flat + d).clip(0, 1)).to(x)[None]
        value, grad = value_and_grad(u, index)
        return float(value), grad[0].double().cpu().numpy()

    def objective(d: np.ndarray) -> tuple[float, np.ndarray]:
        value, grad = divergence(d)
        norm = np.linalg.norm(d)
        return value + lambda_ * norm, grad + lambda_ * d / max(norm, 1e-300)

    near = np.random.default_rng(0).uniform(-NEAR, NEAR, flat.size)
    begin = near if start is None else start.double().cpu().numpy()
    bounds = list(zip(-flat, 1 - flat))
    d, value, info = fmin_l_bfgs_b(objective, begin.clip(-flat, 1 - flat), bounds=bounds, m=MEMORY, factr=FACTR)
    norm = np.linalg.norm(d)
    gradient = info["grad"]
    residual = np.linalg.norm((d - gradient).clip(-flat, 1 - flat) - d)
    initial = divergence(np.zeros_like(d))[0]
    u = (flat + d).clip(0, 1)
    return u, value - lambda_ * norm, value, norm, initial, info["funcalls"], info["warnflag"] == 0, residual
