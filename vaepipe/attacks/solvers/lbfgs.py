"""Batched projected L-BFGS for many small problems of one shape: minimise φ(u) + λ‖u − x‖₂ over u in [0,1]ⁿ.

Each row has its own x, λ, line search, curvature history and stopping rule. A fixed number of slots is
worked on at once; a finished row leaves its slot to the next. All arrays keep their shape throughout. So a
row's result is independent of the other rows, bit for bit on one machine.

Directions: two-metric projection (Bertsekas 1982) with limited-memory BFGS on the free variables (Nocedal
1980). The norm has no gradient at u = x. There the subgradient of least norm within the box is used, so a
row whose λ is at least the norm of φ's projected gradient stops at once, certified stationary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vaepipe.attacks.solvers.direction import quasi_newton, unit_length
from vaepipe.attacks.solvers.history import History
from vaepipe.attacks.solvers.iterate import Iterate
from vaepipe.attacks.solvers.line_search import Backtracking, shorter_step, sufficient_decrease
from vaepipe.attacks.solvers.slots import PerSlot, RowQueue
from vaepipe.attacks.solvers.solution import Solution, ValueAndGrad
from vaepipe.attacks.solvers.stopping import Stopping
from vaepipe.attacks.solvers.vectors import ALIGNMENT, dot, padded


def minimise(
    value_and_grad: ValueAndGrad,
    x: Tensor,
    lambda_: Tensor,
    *,
    slots: int = 64,
    sizes: Sequence[int] = (),
    max_iterations: int = 500,
    tolerance: float | Tensor = 1e-4,
    memory: int = 10,
    start: Tensor | None = None,
    initial: Tensor | None = None,
) -> Solution:
    """Minimise every row's objective.

    Args:
        value_and_grad: (u (B, n), row numbers (B,)) → (φ (B,), ∇φ (B, n)); rows do not interact.
        x: (R, n) in [0,1], the images.
        lambda_: (R,) positive weights.
        slots: rows worked on at once: B.
        sizes: other values of B, all below ``slots``, for the last rows; those at which ``value_and_grad``
            rounds every row as it does at ``slots``.
        max_iterations: evaluations per row.
        tolerance: one, or (R,) one for each row, see `vaepipe.attacks.solvers.stopping`.
        memory: pairs of the L-BFGS history.
        start: (R, n) in [0,1], the first points; None is ``x``.
        initial: (R,) φ(x), required where ``start`` is given.
    """
    n, pad = x.shape[1], (0, -x.shape[1] % ALIGNMENT)
    start = x if start is None else start
    tolerance = torch.as_tensor(tolerance, dtype=x.dtype, device=x.device).expand(len(x))
    rows = _Rows(padded(x, *pad), padded(start, *pad), lambda_, tolerance, initial)
    state, solution = _Slots(rows, slots, memory), Solution.empty(x)
    while state.queue.busy.any():
        trial = state.search.trial(state.at.u)
        # a matrix product's rounding may depend on the number of rows
        extra = min(size for size in (*sizes, slots) if size >= len(trial)) - len(trial)
        u, row = padded(trial, 0, 0, 0, extra)[:, :n].contiguous(), padded(state.queue.row, 0, extra)
        phi, grad = value_and_grad(u, row)
        phi, grad = phi[: len(trial)], padded(grad[: len(trial)], *pad)
        done, converged = state.step(trial, phi, grad, max_iterations)
        if done.any():
            state.write(solution, done, converged)
            state.load(done)
    return solution


@dataclass(frozen=True)
class _Rows:
    """All rows: ``x``, ``start`` (R, n); ``lambda_``, ``tolerance``, ``initial`` (R,)."""

    x: Tensor
    start: Tensor
    lambda_: Tensor
    tolerance: Tensor
    initial: Tensor | None


class _Slots(PerSlot):
    """The rows in work. When no rows are left to come, idle slots are dropped by halves."""

    def __init__(self, rows: _Rows, slots: int, memory: int):
        self.rows = rows
        self.queue = RowQueue(len(rows.x), slots, rows.x.device)
        self.at = Iterate(slots, rows.x)
        self.search = Backtracking(self.at.x)
        self.history = History(self.at.x, memory)
        self.stopping = Stopping(slots, rows.x)
        self.load(~self.queue.busy)

    def load(self, done: Tensor) -> None:
        """Put the next rows into the slots of the mask (A,)."""
        slot, row = self.queue.load(done)
        rows = self.rows
        initial = None if rows.initial is None else rows.initial[row]
        self.at.load(slot, rows.x[row], rows.start[row], rows.lambda_[row], initial)
        self.search.load(slot)
        self.history.forget(slot)
        self.stopping.load(slot, rows.tolerance[row])
        remaining = self.queue.remaining()
        if remaining is not None:
            self.keep(remaining)

    def step(self, trial: Tensor, phi: Tensor, grad: Tensor, max_iterations: int) -> tuple[Tensor, Tensor]:
        """Take in φ (A,) and ∇φ (A, n) at the trial points (A, n). Returns masks (A,): done, converged."""
        at, fresh = self.at, self.at.iteration == 0
        f, g, size = at.objective(trial, phi, grad)
        step, change, free_g = self.history.buffers()
        torch.sub(trial, at.u, out=step)
        torch.sub(g, at.g, out=change)
        predicted = dot(at.g, step).clamp_(max=0)  # never a step upwards
        # a sum is finite exactly where all its terms are
        accept = sufficient_decrease(f, at.f, predicted) & (g.sum(-1) + f).isfinite()
        shorter = shorter_step(predicted, predicted + at.f - f)
        candidate = accept & (at.norm > 0)  # at d = 0 the change of the gradient is no curvature
        at.move(accept, trial, phi, f, g, size)

        free = at.free()
        torch.mul(at.g, free, out=free_g)
        products = self.history.learn(candidate)
        direction, length, slope = quasi_newton(self.history, products, free_g, free)
        stuck = self._turn(accept, direction, length, shorter, free_g)

        converged = stuck | self.stopping.converged(accept, fresh, at.f, at.initial, slope)
        converged &= self.queue.busy
        broken = fresh & ~accept
        return self.queue.busy & (converged | broken | (at.iteration >= max_iterations)), converged & ~broken

    def _turn(
        self, accept: Tensor, direction: Tensor, length: Tensor, shorter: Tensor, free_g: Tensor
    ) -> Tensor:
        """Turn accepted rows to the new direction, and shorten the step of the others.

        Where the search is exhausted, the history is dropped and steepest descent tried.

        Returns:
            (A,) bool: exhausted without a history, so that nothing is left to try.
        """
        exhausted = self.search.exhausted(accept)
        if not exhausted.any():
            self.search.advance(accept, direction, length, shorter)
            return exhausted
        stuck = exhausted & (self.history.count == 0)
        self.search.restart(exhausted)
        self.history.forget(exhausted.nonzero()[:, 0])
        direction = torch.where(exhausted[:, None], -free_g, direction)
        length = torch.where(exhausted, unit_length(free_g), length)
        self.search.advance(accept | exhausted, direction, length, shorter)
        return stuck

    def write(self, solution: Solution, done: Tensor, converged: Tensor) -> None:
        """Copy the slots of the mask ``done`` (A,) into the solution."""
        at, row, n = self.at, self.queue.row[done], solution.u.shape[1]
        solution.u[row], solution.norm[row] = at.u[done, :n], at.norm[done]
        solution.objective[row], solution.divergence[row] = at.f[done], at.phi[done]
        solution.initial_divergence[row] = at.initial[done]
        solution.iterations[row], solution.converged[row] = at.iteration[done], converged[done]
        solution.residual[row] = at.residual(done)
