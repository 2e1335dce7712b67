"""Momentum with a falling step, for many rows at once: minimise φ(u) + λ‖u − x‖₂ over u in [0,1]ⁿ.

A ReLU network makes the divergence a narrow valley full of kinks, where a descent that may only go down stops
early. Adam (Kingma and Ba 2015), projected onto the box, steps over the kinks while its step is large, and
settles as the step falls to zero along a cosine (Loshchilov and Hutter 2017):

    m ← 0.9 m + 0.1 g,   s ← 0.999 s + 0.001 g²,
    u ← P(u − a_t · m̂ / √ŝ),   a_t = a_0 (1 + cos(π t / T)) / 2

with m̂, ŝ the means without their bias and P the projection. The first step a_0 that is right differs by a
factor of a thousand between values of λ and between models. Each row measures its own, see `first_step`. The
best point on the way is returned, so no row gets worse.

Every row takes the same number of steps, whatever the other rows are. So a row's result is independent of the
other rows, bit for bit on one machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vaepipe.attacks.solvers.solution import Solution, ValueAndGrad
from vaepipe.attacks.solvers.vectors import ALIGNMENT, norm, padded

MEAN, SQUARE = 0.9, 0.999
"""Decay of the running means of the gradient and of its square."""
SMALLEST = 1e-18
"""Added to the root of the mean square; its square is below the range of float32."""
PROBES = 4
"""Evaluations by which a row measures its first step."""
OTHERS = PROBES + 3
"""Evaluations of a row that are no step of the walk: the probes, the start twice, and the best point."""
LEAST, MOST = 1e-3, 10.0
"""Bounds of the first step, in root mean squares of the row's distortion."""

Objective = Callable[[Tensor], tuple[Tensor, ...]]
"""Points (A, n) → (values (A,), gradients (A, n), …)."""
Projection = Callable[[Tensor], Tensor]
"""Points (A, n) → the nearest that are allowed; it may work in place."""


def descend(
    value_and_grad: ValueAndGrad,
    x: Tensor,
    lambda_: Tensor,
    start: Tensor,
    *,
    slots: int,
    steps: int,
    sizes: Sequence[int] = (),
    boldness: float = 1.0,
) -> Solution:
    """Lower every row's φ(u) + λ‖u − x‖₂ from ``start``, where u is not x.

    Args:
        value_and_grad, x, lambda_, slots, sizes: as in `vaepipe.attacks.solvers`.
        start: (R, n) in [0,1].
        steps: evaluations of each row, at least `OTHERS`.
        boldness: factor of the first step.

    Returns:
        The best point of each row. There is no stopping rule: ``converged`` is False. ``initial_divergence``
        is NaN.
    """
    steps = max(steps, OTHERS)
    solution = Solution.empty(x)
    for rows in torch.arange(len(x), device=x.device).split(slots):
        # a matrix product's rounding may depend on the number of rows
        size = min(size for size in (*sizes, slots) if size >= len(rows))
        batch = torch.cat([rows, rows[-1:].expand(size - len(rows))])
        objective = _Penalised(value_and_grad, batch, x[batch], lambda_[batch])
        u, f, phi, length, residual = _lower(objective, start[batch], steps, boldness)
        count = len(rows)
        solution.u[rows], solution.objective[rows] = u[:count], f[:count]
        solution.divergence[rows], solution.norm[rows] = phi[:count], length[:count]
        solution.residual[rows], solution.iterations[rows] = residual[:count], steps
    return solution


class _Penalised:
    """φ(u) + λ‖u − x‖₂ of A rows with its gradient.

    Points are padded with zeros, so that each begins on a 64-byte boundary.
    """

    def __init__(self, value_and_grad: ValueAndGrad, rows: Tensor, x: Tensor, lambda_: Tensor):
        self.value_and_grad, self.rows, self.lambda_, self.n = value_and_grad, rows, lambda_, x.shape[1]
        self.pad = (0, -self.n % ALIGNMENT)
        self.x = padded(x, *self.pad)

    def __call__(self, u: Tensor) -> tuple[Tensor, ...]:
        """Objective (A,), gradient (A, n), φ and ‖u − x‖₂ (A,) at ``u`` (A, n).

        Entries of a gradient that are not finite count as 0.
        """
        phi, grad = self.value_and_grad(u[:, : self.n].contiguous(), self.rows)
        d = u - self.x
        size = norm(d)
        pull = (self.lambda_ / size.clamp(min=1e-30))[:, None]
        g = padded(grad, *self.pad).nan_to_num(0, 0, 0).addcmul_(pull, d)
        return phi + self.lambda_ * size, g, phi, size


def _lower(objective: _Penalised, start: Tensor, steps: int, boldness: float) -> tuple[Tensor, ...]:
    """Best u (A, n), objective, φ, ‖u − x‖₂ and residual (A,) of A rows."""
    u = padded(start, *objective.pad)
    f, g, _, size = objective(u)
    unit, rise = size / objective.n**0.5, objective.lambda_ * size
    step = boldness * first_step(objective, _into_box, u, f, g, unit, rise)
    best = walk(objective, _into_box, u, step, steps - OTHERS)
    f, g, phi, size = objective(best)
    return best[:, : objective.n], f, phi, size, norm((best - g).clamp(0, 1) - best)


def _into_box(u: Tensor) -> Tensor:
    return u.clamp_(0, 1)


def walk(objective: Objective, project: Projection, start: Tensor, step: Tensor, steps: int) -> Tensor:
    """The best point (A, n) on a walk from ``start``; the step per pixel falls from ``step`` (A,) to 0."""
    u = best = start
    lowest, g = objective(u)[:2]
    mean, square = torch.zeros_like(u), torch.zeros_like(u)
    for turn in range(steps):
        mean.lerp_(g, 1 - MEAN)
        square.mul_(SQUARE).addcmul_(g, g, value=1 - SQUARE)
        fall = 0.5 * (1 + math.cos(math.pi * turn / steps))
        unbias = (1 - SQUARE ** (turn + 1)) ** 0.5 / (1 - MEAN ** (turn + 1))
        rate = step * (fall * unbias)
        u = project(torch.addcdiv(u, mean * -rate[:, None], square.sqrt().add_(SMALLEST)))
        f, g = objective(u)[:2]
        lower = f < lowest
        best, lowest = torch.where(lower[:, None], u, best), torch.where(lower, f, lowest)
    return best


def first_step(
    objective: Objective, project: Projection, u: Tensor, f: Tensor, g: Tensor, unit: Tensor, rise: Tensor
) -> Tensor:
    """(A,) step per pixel downhill, along the signs of the gradient, that raises the objective by ``rise``.

    The rise grows as the square of the step, so each of `PROBES` trials corrects the step by the root of the
    factor by which it misses. With shorter steps a walk stays in its dent of the valley. With longer ones it
    forgets where it starts.

    Args:
        u, f, g: (A, n), (A,), (A, n), point, objective and gradient.
        unit: (A,) the step is between `LEAST` and `MOST` of it.
        rise: (A,).
    """
    direction, length = g.sign(), torch.full_like(f, 0.1)
    for _ in range(PROBES):
        change = objective(project(u - (length * unit)[:, None] * direction))[0] - f
        miss = (rise / change.clamp(min=1e-6 * rise)).nan_to_num(0, torch.inf, 0).sqrt()
        length = (length * miss.clamp(0.03, 30)).clamp(LEAST, MOST)
    return length * unit
