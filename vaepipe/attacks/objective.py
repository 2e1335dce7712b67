"""The rows (λ, pair) of one attack: what they start from and how they are solved, each on its own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vaepipe.attacks.arguments import check_posterior
from vaepipe.attacks.loss import Loss, Setting, in_batches
from vaepipe.attacks.solvers import lbfgs as solver
from vaepipe.attacks.solvers import scipy_lbfgsb as reference
from vaepipe.compute.randomness import seeded_generator
from vaepipe.models.distributions import DiagonalNormal

PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
START = 0.5
"""‖d‖₂ at which losses start that have no gradient at d = 0."""


@dataclass
class Rows:
    """Rows, of any leading shape: ``d`` (…, n); the others (…) as in `vaepipe.attacks.AttackResult`."""

    d: Tensor
    objective: Tensor
    divergence: Tensor
    norm: Tensor
    initial_divergence: Tensor
    iterations: Tensor
    converged: Tensor
    residual: Tensor

    def where(self, take: Tensor, other: Rows) -> Rows:
        """``other``'s rows where ``take`` (…) is true."""
        pick = {name: torch.where(take, getattr(other, name), value) for name, value in vars(self).items() if name != "d"}
        return Rows(torch.where(take[..., None], other.d, self.d), **pick)


class Problem:
    """P pairs under one loss.

    Args: as `vaepipe.attacks.run_attack`.
    """

    def __init__(self, model, x, target, loss, seed, draws, method, max_iterations, tolerance, batch_size):
        goals = posteriors(model, target, batch_size, loss)
        noise = pair_noise(x, target, draws, sum(q.mean.shape[-1] for q in goals), seed)
        self.divergence = loss.build(Setting(model, x, target, goals, noise, batch_size))
        self.shape, self.x, self.batch_size = x.shape[1:], x.flatten(1), batch_size
        self.target = target.flatten(1) if loss.has_target else None
        self.minimise = {"lbfgs": solver.minimise, "scipy": reference.minimise}[method]
        self.options = {"max_iterations": max_iterations, "tolerance": tolerance, "slots": batch_size}
        self.start = None
        self.sizes = [] if method == "scipy" else self.alike()
        if not loss.has_target:
            away = pair_noise(x, target, 1, self.x.shape[1], seed + 1)[0]
            self.start = (self.x + START * away / away.norm(dim=1, keepdim=True)).clamp(0, 1)

    def solve(self, lambdas: Tensor) -> Rows:
        """(L, P) rows from their own start."""
        L, P = len(lambdas), len(self.x)
        pair = torch.arange(P, device=self.x.device).repeat(L)
        start = None if self.start is None else self.start[pair]
        found = self.restart(pair, lambdas.repeat_interleave(P), start)
        return Rows(**{name: value.unflatten(0, (L, P)) for name, value in vars(found).items()})

    def restart(
        self,
        pair: Tensor,
        lambda_: Tensor,
        start: Tensor | None,
        initial: Tensor | None = None,
        coarser: float | Tensor = 1,
        share: float = 1,
    ) -> Rows:
        """(R,) rows of the given pairs and λ (R,), from ``start`` (R, n), else from x. ``initial`` (R,): φ(x) where known;
        ``coarser``: factor of the tolerance, one or (R,); ``share``: of the evaluations that a row may take."""

        if start is not None and initial is None:
            initial = in_batches(lambda row: self.divergence(self.x[pair[row]].unflatten(1, self.shape), pair[row]),
                                 torch.arange(len(pair), device=pair.device), self.batch_size)  # fmt: skip
        x, options = self.x[pair], self.options | {"tolerance": self.options["tolerance"] * coarser}
        options |= {"start": start, "initial": initial, "sizes": self.sizes}
        options["max_iterations"] = max(1, int(share * options["max_iterations"]))
        s = self.minimise(lambda u, row: self.value_and_grad(u, pair[row]), x, lambda_, **options)
        rest = {name: value for name, value in vars(s).items() if name != "u"}
        return Rows(s.u - x, **rest)

    def value_and_grad(self, u: Tensor, pair: Tensor) -> tuple[Tensor, Tensor]:
        """φ (B,) and ∇φ (B, n) at the inputs ``u`` (B, n) of the given pairs (B,)."""
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            value = self.divergence(u.unflatten(1, self.shape), pair)
            (grad,) = torch.autograd.grad(value.sum(), u)
        return value.detach(), grad

    def alike(self) -> list[int]:
        """Halves, quarters, … of the batch size, as long as every row comes out of them with the bits that it has in a whole
        batch. On a GPU none: there small batches take as long."""
        if self.x.is_cuda:
            return []
        pair = torch.arange(self.batch_size) % len(self.x)
        u = torch.rand(len(pair), self.x.shape[1], generator=seeded_generator("cpu", "alike")).to(self.x)
        whole, sizes = self.value_and_grad(u, pair), []
        size = self.batch_size // 2
        while size and all(
            torch.equal(part, rows)
            for batch in zip(u.split(size), pair.split(size), *(w.split(size) for w in whole))
            if len(batch[0]) == size
            for part, rows in zip(self.value_and_grad(*batch[:2]), batch[2:])
        ):
            sizes.append(size)
            size //= 2
        return sizes[::-1]

    def rows(self, result) -> Rows:
        """Those of a `vaepipe.attacks.AttackResult` whose rows were solved on their own."""
        names = [name for name in Rows.__dataclass_fields__ if name != "d"]
        found = {name: getattr(result, name).to(self.x.device) for name in names}
        return Rows(result.distortion.to(self.x).flatten(2), **found)


def posteriors(model, x: Tensor, batch_size: int, loss: Loss) -> list[DiagonalNormal]:
    """Posteriors of ``x``, a layer each."""

    def packed(batch: Tensor) -> Tensor:
        layers = model.posterior(batch)
        check_posterior(layers, len(batch), loss)
        sizes[:] = [q.mean.shape[1] for q in layers]
        return torch.cat([part for q in layers for part in q], dim=1)

    sizes: list[int] = []
    parts = in_batches(packed, x, batch_size).split([size for D in sizes for size in (D, D)], dim=1)
    return [DiagonalNormal(mean, log_std) for mean, log_std in zip(parts[::2], parts[1::2])]


def pair_noise(x: Tensor, target: Tensor, draws: int, size: int, seed: int) -> Tensor:
    """(S, P, D) standard normal, decided for each pair by its images, so that the company it is in does not matter."""
    generators = [seeded_generator("cpu", "pair", seed, *(t.cpu().numpy().tobytes() for t in pair)) for pair in zip(x, target)]
    return torch.stack([torch.randn(draws, size, generator=g) for g in generators], 1).to(x)


def in_precision(model, x: Tensor, target: Tensor, precision: str) -> tuple[object, Tensor, Tensor]:
    """Model and images in one of `PRECISIONS`; the model is a copy where its weights are in another."""
    dtype = PRECISIONS[precision]
    x, target = x.to(dtype), target.to(dtype)
    if isinstance(model, torch.nn.Module) and any(p.dtype != dtype for p in model.parameters()):
        model = copy.deepcopy(model).to(dtype)
    return model, x, target


def within_memory(attempt: Callable[[int], object], batch_size: int):
    """``attempt(batch_size)``; where memory does not hold it, of half the size, and so on down to one row."""
    while True:
        try:
            return attempt(batch_size)
        except torch.OutOfMemoryError:
            if batch_size == 1:
                raise
            batch_size //= 2
            print(f"out of memory: going on with {batch_size} rows at once", flush=True)
