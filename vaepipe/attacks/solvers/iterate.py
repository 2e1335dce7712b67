"""The point that each slot stands at, with the objective φ(u) + λ‖u − x‖₂ and its gradient there."""

from __future__ import annotations

import torch
from torch import Tensor

from vaepipe.attacks.solvers.slots import PerSlot
from vaepipe.attacks.solvers.vectors import norm


class Iterate(PerSlot):
    """Current points.

    Attributes:
        x, u, g: (A, n) image, point, gradient of the objective at u.
        lambda_, f, phi, norm: (A,) λ, objective, φ(u), ‖u − x‖₂; f is infinite before the first evaluation.
        initial: (A,) φ(x); NaN before the first evaluation where it is not given.
        known: (A,) bool, g is a gradient at u.
        iteration: (A,) int32, evaluations.
    """

    def __init__(self, slots: int, x: Tensor):
        """``x`` (R, n): any tensor of the width, type and device to work in."""
        self.x, self.u, self.g = (x.new_zeros(slots, x.shape[1]) for _ in range(3))
        self.lambda_, self.f, self.phi, self.norm, self.initial = (x.new_zeros(slots) for _ in range(5))
        self.known = torch.zeros(slots, dtype=torch.bool, device=x.device)
        self.iteration = torch.zeros(slots, dtype=torch.int32, device=x.device)

    def load(self, slot: Tensor, x: Tensor, start: Tensor, lambda_: Tensor, initial: Tensor | None) -> None:
        """Put K rows into the slots (K,): ``x``, ``start`` (K, n), ``lambda_``, ``initial`` (K,)."""
        self.x[slot], self.u[slot], self.lambda_[slot] = x, start, lambda_
        self.g[slot], self.norm[slot] = 0, 0
        self.f[slot], self.phi[slot] = torch.inf, torch.nan
        self.initial[slot] = torch.nan if initial is None else initial
        self.known[slot], self.iteration[slot] = False, 0

    def objective(self, u: Tensor, phi: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Objective (A,), gradient (A, n) and ‖u − x‖₂ (A,) at ``u`` (A, n), from φ (A,) and ∇φ (A, n)."""
        d = u - self.x
        size = norm(d)
        return phi + self.lambda_ * size, self._gradient(u, d, size, grad), size

    def _gradient(self, u: Tensor, d: Tensor, size: Tensor, grad: Tensor) -> Tensor:
        """(A, n) gradient of the objective; at d = 0 its least subgradient within the box."""
        g = torch.addcmul(grad, (self.lambda_ / size.clamp(min=1e-30))[:, None], d)
        zero = (size == 0).nonzero()[:, 0]
        if len(zero):
            grad, u = grad[zero], u[zero]
            inward = torch.where(((u <= 0) & (grad > 0)) | ((u >= 1) & (grad < 0)), 0.0, grad)
            g[zero] = (1 - self.lambda_[zero] / norm(inward).clamp(min=1e-30)).clamp(min=0)[:, None] * inward
        return g

    def move(self, accept: Tensor, u: Tensor, phi: Tensor, f: Tensor, g: Tensor, size: Tensor) -> None:
        """Count an evaluation, and go to the evaluated points ``u`` where ``accept`` (A,).

        A first evaluation is recorded in f and phi even where it is refused.
        """
        taken, row = accept | (self.iteration == 0), accept[:, None]
        self.iteration += 1
        self.initial = torch.where(self.initial.isnan(), phi, self.initial)
        self.u, self.g = torch.where(row, u, self.u), torch.where(row, g, self.g)
        self.f, self.phi = torch.where(taken, f, self.f), torch.where(taken, phi, self.phi)
        self.norm = torch.where(accept, size, self.norm)
        self.known |= accept

    def free(self) -> Tensor:
        """(A, n) 0 where the gradient pushes a variable against a bound that it lies at, otherwise 1."""
        return (self.u - self.g).clamp_(0, 1).sub_(self.u).sign_().abs_()

    def residual(self, slots: Tensor) -> Tensor:
        """(K,) ‖P(u − g) − u‖₂ of the slots of the mask (A,); NaN where no gradient is finite."""
        u = self.u[slots]
        step = norm((u - self.g[slots]).clamp(0, 1) - u)
        return torch.where(self.known[slots], step, torch.nan)
