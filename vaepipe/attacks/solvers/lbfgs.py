"""Batched projected L-BFGS for many small problems of one shape: minimise φ(u) + λ‖u − x‖₂ over u in [0,1]ⁿ.

Each row has its own x, λ, line search, curvature history and stopping rule. A fixed number of slots is worked on at once;
a row that is done leaves its slot to the next. All arrays keep their shape throughout, so a row's result is the same, bit
for bit on one machine, whatever the other rows are and how many.

Directions: two-metric projection (Bertsekas 1982) with limited-memory BFGS on the free variables (Nocedal 1980). The norm
has no gradient at u = x: there the subgradient of least norm within the box is used, so a row whose λ is at least the norm
of φ's projected gradient stops at once, certified stationary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

ARMIJO = 1e-4  # share of the predicted decrease that a step must reach
CURVATURE = 1e-8  # least cosine between step and change of gradient for a pair to be kept
BACKTRACKS = 15  # failed steps in a row before the history is dropped, and then the row stopped
WINDOW = 5  # accepted steps over which the decrease is judged
SCALE = 0.1  # share of φ(x) in what a decrease is small beside


@dataclass
class Solution:
    """Rows in the order given. ``u``: (R, n); the others (R,): φ(u), φ(u) + λ‖u − x‖, ‖u − x‖, φ(x), accepted and
    rejected steps, whether the row stopped by its own rule, and ‖P(u − g) − u‖₂ with g the objective's gradient."""

    u: Tensor
    divergence: Tensor
    objective: Tensor
    norm: Tensor
    initial_divergence: Tensor
    iterations: Tensor
    converged: Tensor
    residual: Tensor


def minimise(
    value_and_grad: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
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
        value_and_grad: (u (slots, n), row numbers (slots,)) → (φ (slots,), ∇φ (slots, n)); rows must not interact.
        x: (R, n) in [0,1], where φ is attacked from.
        lambda_: (R,) positive weights.
        slots: rows worked on at once.
        sizes: other numbers of rows that ``value_and_grad`` may be given, all below ``slots``, when few are left; those at
            which it rounds every row as it does at ``slots``.
        max_iterations: evaluations per row.
        tolerance: one, or (R,) one for each row; a row is done when WINDOW accepted steps lower it by at most
            tolerance × (objective + φ(x) / 10).
        memory: pairs of the L-BFGS history.
        start: (R, n) in [0,1], where the rows begin; None is ``x``.
        initial: (R,) φ(x), needed where the rows begin elsewhere.
    """
    R, n = x.shape
    # zeros that never move: with every row on a 64-byte boundary, libraries round all rows alike
    pad = (0, -n % 16)
    start = x if start is None else start
    tolerance = torch.as_tensor(tolerance, dtype=x.dtype, device=x.device).expand(R)
    state = _Slots(_padded(x, *pad), _padded(start, *pad), lambda_, tolerance, initial, slots, memory)
    out = Solution(
        *(x.new_full(s, torch.nan) for s in ((R, n), (R,), (R,), (R,), (R,))),
        torch.zeros(R, dtype=torch.int32, device=x.device),
        torch.zeros(R, dtype=torch.bool, device=x.device),
        x.new_full((R,), torch.nan),
    )
    while state.busy.any():
        trial = torch.addcmul(state.u, state.t[:, None], state.p).clamp_(0, 1)
        # filled up to one of few sizes, as a matrix product's rounding may depend on the number of rows
        more = min(size for size in (*sizes, slots) if size >= len(trial)) - len(trial)
        phi, grad = value_and_grad(_padded(trial, 0, 0, 0, more)[:, :n].contiguous(), _padded(state.row, 0, more))
        done, converged = state.step(trial, phi[: len(trial)], _padded(grad[: len(trial)], *pad), max_iterations)
        if done.any():
            rows = state.row[done]
            out.u[rows], out.divergence[rows], out.norm[rows] = state.u[done, :n], state.phi[done], state.norm[done]
            out.objective[rows], out.initial_divergence[rows] = state.f[done], state.initial[done]
            out.iterations[rows], out.converged[rows] = state.iteration[done], converged[done]
            out.residual[rows] = state.residual(done)
            state.load(done)
    return out


class _Slots:
    """The rows in work. Every tensor has the slots as its first axis A; when no rows are left to come, slots are given up."""

    def __init__(self, x, start, lambda_, tolerance, initial: Tensor | None, slots: int, memory: int):
        A, n, m = slots, x.shape[1], memory
        self.all_x, self.all_start, self.all_lambda, self.all_tolerance, self.all_initial = x, start, lambda_, tolerance, initial
        self.queue = 0
        number, whole = partial(x.new_zeros, A), partial(torch.zeros, A, device=x.device)
        self.row, self.busy, self.known = whole(dtype=torch.long), whole(dtype=torch.bool), whole(dtype=torch.bool)
        self.x, self.u, self.p, self.g = (x.new_zeros(A, n) for _ in range(4))
        self.t, self.f, self.phi, self.norm, self.initial, self.lam, self.tolerance = (number() for _ in range(7))
        self.iteration, self.backtracks, self.count, self.steps = (whole(dtype=torch.int32) for _ in range(4))
        self.pairs = x.new_zeros(A, 2 * m, n)  # a ring of steps s and one of changes of the gradient y for each row
        double = {"dtype": torch.float64, "device": x.device}
        self.gram = torch.zeros(A, 2, m, m, **double)  # their products s·y, and y·y, the oldest pair first
        self.gamma = torch.zeros(A, 1, **double)  # s·y / y·y of the last pair
        self.new = x.new_zeros(A, 3, n)  # step, change of the gradient, gradient of the free variables
        self.window = x.new_zeros(A, WINDOW)
        self.memory = m
        self.per_slot = [name for name, value in vars(self).items() if isinstance(value, Tensor) and not name.startswith("all_")]
        places = (torch.arange(m)[:, None] + torch.arange(m)) % m
        self.ages = torch.cat([places, m + places], 1).to(x.device)  # (m, 2m) by the count mod m: places in the ring by age
        self.load(torch.ones_like(self.busy))

    def load(self, slots: Tensor) -> None:
        """Put the next rows of the queue into the slots of the mask; with none left, drop idle slots by halves."""
        slot = slots.nonzero()[:, 0]
        self.busy[slot] = self.known[slot] = False
        slot = slot[: len(self.all_x) - self.queue]
        rows = torch.arange(self.queue, self.queue + len(slot), device=slot.device)
        self.queue += len(slot)
        self.busy[slot], self.row[slot] = True, rows
        self.x[slot], self.u[slot], self.lam[slot] = self.all_x[rows], self.all_start[rows], self.all_lambda[rows]
        self.tolerance[slot] = self.all_tolerance[rows]
        for zeroed in (self.p, self.g, self.t, self.iteration, self.backtracks, self.steps):
            zeroed[slot] = 0
        self.forget(slot)
        self.f[slot], self.phi[slot], self.norm[slot] = torch.inf, torch.nan, 0
        self.initial[slot] = torch.nan if self.all_initial is None else self.all_initial[rows]
        if 0 < 2 * int(self.busy.sum()) <= len(self.busy):
            kept = self.busy.nonzero()[:, 0]
            for name in self.per_slot:
                setattr(self, name, getattr(self, name)[kept])

    def forget(self, slot: Tensor) -> None:
        """Drop the history of these slots. Where there is no pair yet, s·y is that of the identity, and the rest zero."""
        self.count[slot], self.pairs[slot], self.gamma[slot] = 0, 0, 1
        self.gram[slot] = torch.stack([torch.eye(self.memory), torch.zeros(self.memory, self.memory)]).to(self.gram)

    def step(self, trial: Tensor, phi: Tensor, grad: Tensor, max_iterations: int) -> tuple[Tensor, Tensor]:
        """Take in φ and ∇φ at the trial points; returns which slots are done, and converged."""
        d = trial - self.x
        norm = _norm(d)
        f = phi + self.lam * norm
        g = self._gradient(trial, d, norm, grad)
        moved, change, free_g = self.new.unbind(1)
        torch.sub(trial, self.u, out=moved)
        torch.sub(g, self.g, out=change)
        fresh = self.iteration == 0
        predicted = _dot(self.g, moved).clamp_(max=0)  # never a step upwards
        # a sum is finite just where all of it is
        accept = (f <= self.f + ARMIJO * predicted) & (g.sum(-1) + f).isfinite()
        taken, a, old = accept | fresh, accept[:, None], self.f
        self.iteration += 1
        self.initial = torch.where(self.initial.isnan(), phi, self.initial)
        self.u, self.g = torch.where(a, trial, self.u), torch.where(a, g, self.g)
        self.f, self.phi = torch.where(taken, f, old), torch.where(taken, phi, self.phi)
        self.known |= accept

        # an accepted row turns to a new direction; a refused one shortens its step by the parabola through what it knows
        shorter = (predicted / (2 * (predicted + old - f))).nan_to_num_(0.1).clamp_(0.1, 0.5)
        self.backtracks = torch.where(accept, 0, self.backtracks + 1)
        stuck = self.backtracks > BACKTRACKS
        free = (self.u - self.g).clamp_(0, 1).sub_(self.u).sign_().abs_()  # 0 where pushed against a bound, else 1
        torch.mul(self.g, free, out=free_g)
        products = self._remember(accept & (self.norm > 0))  # never of a fresh row
        self.norm = torch.where(accept, norm, self.norm)
        direction, length, slope = self._direction(products, free_g, free)
        turn, stalled = accept, stuck
        if stuck.any():
            turn, stalled = accept | stuck, stuck & (self.count == 0)
            self.backtracks = torch.where(stuck, 0, self.backtracks)
            self.forget(stuck.nonzero()[:, 0])
            direction, length = torch.where(stuck[:, None], -free_g, direction), torch.where(stuck, _unit(free_g), length)
        self.p = torch.where(turn[:, None], direction, self.p)
        self.t = torch.where(turn, length, self.t * shorter)

        size = self.f.abs()
        small = self._decrease(accept & ~fresh) <= self.tolerance * (size + self.initial.abs() * SCALE)
        stationary = accept & (slope <= 1e-6 * (1 + size).clamp_(max=100))
        converged = self.busy & (stationary | stalled | small)
        broken = fresh & ~accept
        return self.busy & (converged | broken | (self.iteration >= max_iterations)), converged & ~broken

    def residual(self, slots: Tensor) -> Tensor:
        """‖P(u − g) − u‖₂ of the slots of the mask; NaN where no gradient was finite."""
        u = self.u[slots]
        found = _norm((u - self.g[slots]).clamp(0, 1) - u)
        return torch.where(self.known[slots], found, torch.nan)

    def _gradient(self, u: Tensor, d: Tensor, norm: Tensor, grad: Tensor) -> Tensor:
        """Gradient of the objective; at d = 0 the subgradient of least norm that the box lets count."""
        g = torch.addcmul(grad, (self.lam / norm.clamp(min=1e-30))[:, None], d)
        zero = (norm == 0).nonzero()[:, 0]
        if len(zero):
            grad, u = grad[zero], u[zero]
            inward = torch.where(((u <= 0) & (grad > 0)) | ((u >= 1) & (grad < 0)), 0.0, grad)
            g[zero] = (1 - self.lam[zero] / _norm(inward).clamp(min=1e-30)).clamp(min=0)[:, None] * inward
        return g

    def _remember(self, learn: Tensor) -> Tensor:
        """Store new pairs; returns the products (A, 2m) of the free gradient with all steps and changes stored, oldest first.

        A variable that did not move is left out of y: what is stored is the curvature of the variables that were free then, so
        that no masking of old pairs is needed, and each product is made once.

        Args:
            learn: slots whose step and change of the gradient are a new pair, where they show curvature.
        """
        m = self.memory
        moved, change, _ = self.new.unbind(1)
        change.mul_(moved.sign().abs_())
        learn = learn & (_dot(moved, change) > CURVATURE * _norm(moved) * _norm(change))
        slot = learn.nonzero()[:, 0]
        place = (self.count[slot] % m).long()
        self.pairs[slot[:, None], torch.stack([place, m + place], 1)] = self.new[slot, :2]
        self.count += learn
        products = torch.bmm(self.new[:, 1:], self.pairs.transpose(1, 2)).double()  # A, 2, 2m
        products = products.gather(2, self.ages[(self.count % m).long()][:, None].expand(-1, 2, -1))
        with_change, gram = products[slot, 0].unflatten(1, (2, m)), self.gram[slot]
        gram[:, :, :-1, :-1] = self.gram[slot][:, :, 1:, 1:]
        gram[:, :, :, -1] = with_change
        gram[:, 1, -1] = with_change[:, 1]
        self.gram[slot], self.gamma[slot] = gram, with_change[:, :1, -1] / with_change[:, 1:, -1]
        return products[:, 1]

    def _direction(self, products: Tensor, g: Tensor, free: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(direction (A, n), first step length (A,), ‖g‖₂ (A,)): L-BFGS on the free variables, or steepest descent.

        The compact form of the inverse Hessian (Byrd, Nocedal, Schnabel 1994, eq. 3.1) times the gradient ``g`` of the free
        variables, whose ``products`` with the stored pairs are those of `_remember`; ``free`` (A, n) is 1 where a variable is.
        """
        sg, yg = products.split(self.memory, 1)
        sy, yy = self.gram.unbind(1)  # of the first, the upper triangle is meant
        w = torch.linalg.solve_triangular(sy, sg[:, :, None], upper=True)[:, :, 0]  # A, m
        inner = sy.diagonal(dim1=1, dim2=2) * w + self.gamma * (_dot(yy, w[:, None]) - yg)
        v = torch.linalg.solve_triangular(sy.transpose(1, 2), inner[:, :, None], upper=False)[:, :, 0]
        weight = torch.cat([-v, self.gamma * w], 1)
        weight = torch.empty_like(weight).scatter_(1, self.ages[(self.count % self.memory).long()], weight)
        direction = torch.bmm(weight.to(g)[:, None], self.pairs)[:, 0].addcmul_(g, self.gamma.to(g), value=-1).mul_(free)
        size = _norm(g)
        descent = (self.count > 0) & (_dot(direction, g) < -1e-6 * _norm(direction) * size)  # False where it is NaN
        length = torch.ones_like(size)
        if not descent.all():
            direction = torch.where(descent[:, None], direction, -g)
            length = torch.where(descent, length, (1 / size.clamp(min=1)).nan_to_num_(1.0))
        return direction, length, size

    def _decrease(self, accepted: Tensor) -> Tensor:
        """(A,) fall of the objective over the last WINDOW accepted steps; infinite before there are as many."""
        place = (self.steps % WINDOW).long()[:, None]
        before = self.window.gather(1, place)
        full = accepted & (self.steps >= WINDOW)
        self.window.scatter_(1, place, torch.where(accepted, self.f, before[:, 0])[:, None])
        self.steps += accepted
        return torch.where(full, before[:, 0] - self.f, torch.inf)


def _padded(t: Tensor, *pad: int) -> Tensor:
    return F.pad(t, pad) if any(pad) else t


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.vecdot(a, b)


def _norm(v: Tensor) -> Tensor:
    return torch.linalg.vector_norm(v, dim=-1)


def _unit(v: Tensor) -> Tensor:
    """Step length that makes the first move along ``v`` at most one in norm."""
    return (1 / _norm(v).clamp(min=1e-30)).clamp(max=1)
