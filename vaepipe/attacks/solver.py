"""Batched projected L-BFGS for many small problems of one shape: minimise φ(u) + λ‖u − x‖₂ over u in [0,1]ⁿ.

Each row has its own x, λ, line search, curvature history and stopping rule. A fixed number of slots is worked on at once;
a row that is done leaves its slot to the next. All arrays keep their shape throughout, so a row's result is the same, bit
for bit on one machine, whatever the other rows are and how many.

Directions: two-metric projection (Bertsekas 1982) with limited-memory BFGS on the free variables (Nocedal 1980). The norm
has no gradient at u = x: there the subgradient of least norm within the box is used, so a row whose λ is at least the norm
of φ's projected gradient stops at once, certified stationary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

ARMIJO = 1e-4  # share of the predicted decrease that a step must reach
CURVATURE = 1e-8  # least cosine between step and change of gradient for a pair to be kept
BACKTRACKS = 15  # failed steps in a row before the history is dropped, and then the row stopped
WINDOW = 10  # accepted steps over which the decrease is judged


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
    max_iterations: int = 500,
    tolerance: float = 1e-4,
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
        max_iterations: evaluations per row.
        tolerance: a row is done when WINDOW accepted steps lower it by at most tolerance × (objective + φ(x) / 100).
        memory: pairs of the L-BFGS history.
        start: (R, n) in [0,1], where the rows begin; None is ``x``.
        initial: (R,) φ(x), needed where the rows begin elsewhere.
    """
    R, n = x.shape
    # zeros that never move: with every row on a 64-byte boundary, libraries round all rows alike
    start = x if start is None else start
    state = _Slots(F.pad(x, (0, -n % 16)), F.pad(start, (0, -n % 16)), lambda_, initial, slots, memory)
    out = Solution(
        *(x.new_full(s, torch.nan) for s in ((R, n), (R,), (R,), (R,), (R,))),
        torch.zeros(R, dtype=torch.int32, device=x.device),
        torch.zeros(R, dtype=torch.bool, device=x.device),
        x.new_full((R,), torch.nan),
    )
    while state.busy.any():
        trial = (state.u + state.t[:, None] * state.p).clamp(0, 1)
        phi, grad = value_and_grad(trial[:, :n].contiguous(), state.row)
        done, converged = state.step(trial, phi, F.pad(grad, (0, -n % 16)), tolerance, max_iterations)
        if done.any():
            rows = state.row[done]
            out.u[rows], out.divergence[rows], out.norm[rows] = state.u[done, :n], state.phi[done], state.norm[done]
            out.objective[rows], out.initial_divergence[rows] = state.f[done], state.initial[done]
            out.iterations[rows], out.converged[rows] = state.iteration[done], converged[done]
            out.residual[rows] = state.residual[done]
            state.load(done)
    return out


class _Slots:
    """The rows in work. Every tensor has the slots as its first axis A and never changes its shape."""

    def __init__(self, x: Tensor, start: Tensor, lambda_: Tensor, initial: Tensor | None, slots: int, memory: int):
        A, n, m = slots, x.shape[1], memory
        self.all_x, self.all_start, self.all_lambda, self.all_initial, self.queue = x, start, lambda_, initial, 0
        self.row = torch.zeros(A, dtype=torch.long, device=x.device)
        self.busy = torch.zeros(A, dtype=torch.bool, device=x.device)
        self.u, self.p, self.g = (x.new_zeros(A, n) for _ in range(3))
        self.t, self.f, self.phi, self.norm, self.initial, self.residual = (x.new_zeros(A) for _ in range(6))
        self.iteration, self.backtracks, self.count, self.steps = (
            torch.zeros(A, dtype=torch.int32, device=x.device) for _ in range(4)
        )
        self.pairs = x.new_zeros(A, 2 * m, n)  # a ring of steps s and one of changes of the gradient y for each row
        self.basis = x.new_zeros(A, 2 * m + 1, n)  # the same on the free variables, and the gradient
        self.memory = m
        self.window = x.new_zeros(A, WINDOW)
        self.load(torch.ones_like(self.busy))

    def load(self, slots: Tensor) -> None:
        """Put the next rows of the queue into the slots of the mask; slots without a row idle on the last one."""
        slot = slots.nonzero()[:, 0]
        rows = torch.arange(self.queue, self.queue + len(slot), device=slot.device)
        self.queue += len(slot)
        self.busy[slot] = rows < len(self.all_x)
        self.row[slot] = rows.clamp(max=len(self.all_x) - 1)
        self.u[slot] = self.all_start[self.row[slot]]
        for zeroed in (self.p, self.t, self.iteration, self.backtracks, self.count, self.steps):
            zeroed[slot] = 0
        self.f[slot], self.phi[slot], self.norm[slot] = torch.inf, torch.nan, 0
        self.initial[slot], self.residual[slot] = torch.nan, torch.nan

    def step(self, trial: Tensor, phi: Tensor, grad: Tensor, tolerance: float, max_iterations: int) -> tuple[Tensor, Tensor]:
        """Take or refuse the trial points; return (slots that are done, slots that converged)."""
        lam = self.all_lambda[self.row]
        d = trial - self.all_x[self.row]
        norm = _norm(d)
        f = phi + lam * norm
        g = self._gradient(trial, d, norm, grad, lam)
        fresh = self.iteration == 0
        predicted = torch.where(fresh, 0.0, (self.g * (trial - self.u)).sum(-1)).clamp(max=0)  # never a step upwards
        accept = torch.where(fresh, f.isfinite(), f <= self.f + ARMIJO * predicted) & g.isfinite().all(-1)
        self.iteration += 1
        self.initial = torch.where(fresh, phi if self.all_initial is None else self.all_initial[self.row], self.initial)

        self._remember(accept & ~fresh & (self.norm > 0), trial - self.u, g - self.g)
        a = accept[:, None]
        self.u, self.g = torch.where(a, trial, self.u), torch.where(a, g, self.g)
        old = self.f
        self.f, self.phi = torch.where(accept | fresh, f, self.f), torch.where(accept | fresh, phi, self.phi)
        self.norm = torch.where(accept, norm, self.norm)
        self.residual = torch.where(accept, _norm((trial - g).clamp(0, 1) - trial), self.residual)

        # an accepted row turns to a new direction; a refused one shortens its step by the parabola through what it knows
        direction, length = self._direction()
        shorter = (-predicted / (2 * (f - old - predicted))).nan_to_num(0.1).clamp(0.1, 0.5)
        self.backtracks = torch.where(accept, 0, self.backtracks + 1)
        stuck = self.backtracks > BACKTRACKS
        stalled = stuck & (self.count == 0)
        self.count = torch.where(stuck, 0, self.count)
        self.backtracks = torch.where(stuck, 0, self.backtracks)
        steepest = -(self._free() * self.g)
        self.p = torch.where(a, direction, torch.where(stuck[:, None], steepest, self.p))
        self.t = torch.where(accept, length, torch.where(stuck, _unit(steepest), self.t * shorter))

        fell = self._decrease(accept & ~fresh)
        small = fell <= tolerance * (self.f.abs() + self.initial.abs() / 100)
        stationary = accept & (self.residual <= 1e-6 * (1 + self.f.abs()).clamp(max=100))
        converged = self.busy & (stationary | stalled | (accept & small))
        broken = fresh & ~accept
        return self.busy & (converged | broken | (self.iteration >= max_iterations)), converged & ~broken

    def _gradient(self, u: Tensor, d: Tensor, norm: Tensor, grad: Tensor, lam: Tensor) -> Tensor:
        """Gradient of the objective; at d = 0 the subgradient of least norm that the box lets count."""
        smooth = grad + (lam / norm.clamp(min=1e-30))[:, None] * d
        inward = torch.where(((u <= 0) & (grad > 0)) | ((u >= 1) & (grad < 0)), 0.0, grad)
        shrink = (1 - lam / _norm(inward).clamp(min=1e-30)).clamp(min=0)
        return torch.where((norm == 0)[:, None], shrink[:, None] * inward, smooth)

    def _free(self) -> Tensor:
        """(A, n) variables that are not pushed against their bound."""
        return ~(((self.u <= 0) & (self.g > 0)) | ((self.u >= 1) & (self.g < 0)))

    def _remember(self, accepted: Tensor, s: Tensor, y: Tensor) -> None:
        curved = (s * y).sum(-1) > CURVATURE * _norm(s) * _norm(y)
        slot = (accepted & curved).nonzero()[:, 0]
        place = (self.count[slot] % self.memory).long()
        self.pairs[slot, place], self.pairs[slot, self.memory + place] = s[slot], y[slot]
        self.count[slot] += 1

    def _direction(self) -> tuple[Tensor, Tensor]:
        """(direction (A, n), first step length (A,)): L-BFGS on the free variables, or steepest descent.

        The compact form of the inverse Hessian (Byrd, Nocedal, Schnabel 1994, eq. 3.1) times the gradient, from the Gram
        matrix of the stored vectors S, Y and the gradient, all restricted to the free variables.
        """
        m = self.memory
        free = self._free().to(self.g)
        torch.mul(self.pairs, free[:, None], out=self.basis[:, :-1])
        q = torch.mul(self.g, free, out=self.basis[:, -1])
        gram = torch.bmm(self.basis, self.basis.transpose(1, 2)).double()  # A, 2m+1, 2m+1: s₁…s_m y₁…y_m g

        # oldest pair first; a pair that the free variables leave without curvature is taken out
        age = (self.count[:, None].long() + torch.arange(m, device=q.device)) % m  # A, m
        slot = torch.arange(len(q), device=q.device)[:, None]
        sy = gram[slot[:, :, None], age[:, :, None], m + age[:, None, :]]
        yy = gram[slot[:, :, None], m + age[:, :, None], m + age[:, None, :]]
        ss = gram.diagonal(dim1=1, dim2=2)[slot, age]
        curvature, norms = sy.diagonal(dim1=1, dim2=2), yy.diagonal(dim1=1, dim2=2)
        full = torch.arange(m, device=q.device) >= m - self.count[:, None]
        use = full & (curvature > CURVATURE * (ss * norms).sqrt())
        both = use[:, :, None] & use[:, None, :]
        upper = torch.where(both, sy, 0.0).triu() + torch.diag_embed((~use).double())
        newest = (use * torch.arange(1, m + 1, device=q.device)).argmax(1, keepdim=True)
        newton = use.any(1)
        gamma = torch.where(newton, (curvature.gather(1, newest) / norms.gather(1, newest))[:, 0], 1.0)[:, None]

        sg = torch.where(use, gram[slot, age, 2 * m], 0.0)
        yg = torch.where(use, gram[slot, m + age, 2 * m], 0.0)
        w = torch.linalg.solve_triangular(upper, sg[:, :, None], upper=True)  # A, m, 1
        inner = torch.where(use, curvature, 0.0)[:, :, None] * w + gamma[:, :, None] * (
            torch.where(both, yy, 0.0) @ w - yg[:, :, None]
        )
        v = torch.linalg.solve_triangular(upper.transpose(1, 2), inner, upper=False)
        coefficient = gram.new_zeros(len(q), 2 * m + 1)
        coefficient[slot, age], coefficient[slot, m + age], coefficient[:, -1:] = -v[:, :, 0], gamma * w[:, :, 0], -gamma
        direction = torch.bmm(coefficient.to(q)[:, None], self.basis)[:, 0]
        descent = newton & ((direction * q).sum(-1) < -1e-6 * _norm(direction) * _norm(q)) & direction.isfinite().all(-1)
        return torch.where(descent[:, None], direction, -q), torch.where(descent, 1.0, _unit(q))

    def _decrease(self, accepted: Tensor) -> Tensor:
        """(A,) fall of the objective over the last WINDOW accepted steps; infinite before there are as many."""
        slot = accepted.nonzero()[:, 0]
        place = (self.steps[slot] % WINDOW).long()
        fell = torch.full_like(self.f, torch.inf)
        full = self.steps[slot] >= WINDOW
        fell[slot] = torch.where(full, self.window[slot, place] - self.f[slot], torch.inf)
        self.window[slot, place] = self.f[slot]
        self.steps[slot] += 1
        return fell


def _norm(v: Tensor) -> Tensor:
    return torch.linalg.vector_norm(v, dim=-1)


def _unit(v: Tensor) -> Tensor:
    """Step length that makes the first move along ``v`` at most one in norm."""
    return (1 / _norm(v).clamp(min=1e-30)).clamp(max=1)
