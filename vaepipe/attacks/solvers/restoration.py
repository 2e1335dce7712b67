"""Gauss–Newton steps with restoration, for many rows: minimise ½‖r(u)‖² + λ‖u − x‖₂ over u in [0,1]ⁿ.

r has few entries, as the parameters of a posterior are few. Where λ is small, the minimum is the shortest way
to a surface on which r is almost 0. A sharp posterior makes the walls beside this surface steep, and a ReLU
network gives it folds. A descent that may only go down stops at the first of them. So each step leaves the
surface and comes back, as in the gradient-restoration method (Miele, Huang and Heideman 1969):

1. With J the Jacobian of r, d = u − x and c = λ / ‖d‖, the Gauss–Newton point is d* = Jᵀy, where
   (J Jᵀ + c I) y = J d − r. There the linear model has the residuals r* = −c y. A step goes a share of the
   way to d*. Pixels stay at a bound if the step leads out of the box.
2. It comes back by `RESTORE` steps u ← u − Jᵀ (J Jᵀ + c I)⁻¹ (r(u) − r*). Each takes a forward pass.

The objective may rise meanwhile: the best point of all is returned. The share falls along a cosine from the
first one to 0. J is a running mean over steps, which smooths the folds. A row that is not finite any more
stays so, and its best point before counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vaepipe.attacks.solvers.vectors import norm

RESTORE = 4
"""Steps back to the surface, one forward pass each."""
KEPT = 0.6
"""Weight of the mean of earlier Jacobians."""
JITTER = 1e-6
"""Share of its own size that is added to the diagonal of J Jᵀ, which float32 knows no better."""

Residuals = Callable[[Tensor, Tensor], Tensor]
"""(u (B, n), row numbers (B,)) → r (B, m); rows do not interact."""
Jacobian = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""The same → r (B, m) and its Jacobian (B, m, n)."""


def descend(
    residuals: Residuals,
    jacobian: Jacobian,
    x: Tensor,
    lambda_: Tensor,
    start: Tensor,
    *,
    slots: int,
    steps: int,
    first: float,
    sizes: Sequence[int] = (),
) -> Tensor:
    """Return the best point (R, n) of each row. It is independent of the other rows, bit for bit.

    Args:
        x, lambda_, slots, sizes: as in `vaepipe.attacks.solvers`.
        start: (R, n) in [0,1].
        steps: each takes m + 1 + `RESTORE` forward and backward passes.
        first: share of the way to the Gauss–Newton point that the first step goes.
    """
    ends = torch.empty_like(x)
    for rows in torch.arange(len(x), device=x.device).split(slots):
        # a matrix product's rounding may depend on the number of rows
        size = min(size for size in (*sizes, slots) if size >= len(rows))
        batch = torch.cat([rows, rows[-1:].expand(size - len(rows))])
        best = _Best(x[batch], lambda_[batch], start[batch])
        _walk(residuals, jacobian, batch, best, steps, first)
        ends[rows] = best.u[: len(rows)]
    return ends


class _Best:
    """The point of least objective among those that were seen, ``u`` (A, n)."""

    def __init__(self, x: Tensor, lambda_: Tensor, start: Tensor):
        self.x, self.lambda_, self.u = x, lambda_, start
        self.f = torch.full_like(lambda_, torch.inf)

    def see(self, u: Tensor, r: Tensor) -> None:
        """Take in the points ``u`` (A, n) with residuals ``r`` (A, m)."""
        f = 0.5 * r.square().sum(1) + self.lambda_ * norm(u - self.x)
        lower = f < self.f
        self.u, self.f = torch.where(lower[:, None], u, self.u), torch.where(lower, f, self.f)


def _walk(
    residuals: Residuals, jacobian: Jacobian, rows: Tensor, best: _Best, steps: int, first: float
) -> None:
    u, J = best.u, None
    for turn in range(steps):
        r, new = jacobian(u, rows)
        best.see(u, r)
        J = new if J is None else torch.lerp(new, J, KEPT)
        model = _Linear(J, r, u, u - best.x, best.lambda_)
        share = first * 0.5 * (1 + math.cos(math.pi * turn / steps))
        u = (u + share * model.step).clamp_(0, 1)
        for _ in range(RESTORE):
            r = residuals(u, rows)
            best.see(u, r)
            u = model.restored(u, r)
    best.see(u, residuals(u, rows))


class _Linear:
    """The linear model r + J (d' − d) around distortions ``d`` (A, n), and its minimum.

    Attributes:
        step: (A, n) from d to the Gauss–Newton point, 0 for pixels that stay at a bound.
    """

    def __init__(self, J: Tensor, r: Tensor, u: Tensor, d: Tensor, lambda_: Tensor):
        self.weight = lambda_ / norm(d).clamp(min=1e-6)  # c
        step = -self.weight[:, None] * d - _combined(r, J)  # downhill
        for _ in range(2):  # the free pixels by the gradient, then by the step that these allow
            free = ~(((u <= 0) & (step < 0)) | ((u >= 1) & (step > 0)))
            self.J = J * free[:, None]
            self.factor = self._factor()
            y = self._solve((d[:, None] @ self.J.mT)[:, 0] - r)  # the fast order of the product
            step = _combined(y, J) - d
        self.step = step * free
        self.goal = -self.weight[:, None] * y  # r*

    def _factor(self) -> Tensor:
        """(A, m, m) Cholesky factor of J Jᵀ + c I."""
        product = (self.J @ self.J.mT).double()
        diagonal = product.diagonal(dim1=1, dim2=2)
        diagonal += JITTER * diagonal + self.weight[:, None].double().clamp(min=1e-30)
        return torch.linalg.cholesky_ex(product)[0]

    def _solve(self, b: Tensor) -> Tensor:
        """(A, m) solutions y of (J Jᵀ + c I) y = ``b``."""
        return torch.cholesky_solve(b.double()[..., None], self.factor)[..., 0].to(b)

    def restored(self, u: Tensor, r: Tensor) -> Tensor:
        """``u`` (A, n) with residuals ``r`` (A, m), moved to where the model has the residuals r*."""
        return (u - _combined(self._solve(r - self.goal), self.J)).clamp_(0, 1)


def _combined(weights: Tensor, rows: Tensor) -> Tensor:
    """(A, n) sums of ``rows`` (A, m, n) with ``weights`` (A, m)."""
    return (weights[:, None] @ rows)[:, 0]
