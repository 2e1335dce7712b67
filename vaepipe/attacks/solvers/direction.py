"""Direction of projected L-BFGS: two-metric projection (Bertsekas 1982) with the compact inverse Hessian."""

from __future__ import annotations

import torch
from torch import Tensor

from vaepipe.attacks.solvers.history import History
from vaepipe.attacks.solvers.vectors import dot, norm

DESCENT = 1e-6
"""Least cosine between the direction and the negative gradient; below it, steepest descent is used."""


def quasi_newton(
    history: History, products: Tensor, g: Tensor, free: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """L-BFGS direction of the free variables; steepest descent where there is no history or no descent.

    Args:
        products: (A, 2m) of `History.learn`.
        g: (A, n) gradient of the free variables, zero elsewhere.
        free: (A, n) 1 where a variable is free, otherwise 0.

    Returns:
        Direction (A, n), first step length (A,), ‖g‖₂ (A,).
    """
    direction = inverse_hessian_product(history, products, g).mul_(free)
    size = norm(g)
    steep = dot(direction, g) < -DESCENT * norm(direction) * size  # False where it is NaN
    descent = (history.count > 0) & steep
    length = torch.ones_like(size)
    if not descent.all():
        direction = torch.where(descent[:, None], direction, -g)
        length = torch.where(descent, length, (1 / size.clamp(min=1)).nan_to_num_(1.0))
    return direction, length, size


def inverse_hessian_product(history: History, products: Tensor, g: Tensor) -> Tensor:
    """(A, n) −H g, with the compact form of the inverse Hessian H.

    Byrd, Nocedal and Schnabel 1994, equation 3.1.
    """
    gamma = history.gamma
    sg, yg = products.split(history.memory, 1)
    sy, yy = history.gram.unbind(1)
    w = torch.linalg.solve_triangular(sy, sg[:, :, None], upper=True)[:, :, 0]  # A, m
    inner = sy.diagonal(dim1=1, dim2=2) * w + gamma * (dot(yy, w[:, None]) - yg)
    v = torch.linalg.solve_triangular(sy.transpose(1, 2), inner[:, :, None], upper=False)[:, :, 0]
    weight = torch.cat([-v, gamma * w], 1)
    weight = torch.empty_like(weight).scatter_(1, history.places, weight)
    return torch.bmm(weight.to(g)[:, None], history.pairs)[:, 0].addcmul_(g, gamma.to(g), value=-1)


def unit_length(v: Tensor) -> Tensor:
    """(A,) step length that makes a move along ``v`` (A, n) at most one in norm."""
    return (1 / norm(v).clamp(min=1e-30)).clamp(max=1)
