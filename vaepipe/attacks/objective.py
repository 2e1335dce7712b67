"""The divergence that the attacks on P pairs minimise, with its gradient, and the noise of each pair."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from vaepipe.attacks.arguments import check_posterior
from vaepipe.attacks.loss import Loss, Setting, in_batches
from vaepipe.compute.convolutions import fast_convolutions
from vaepipe.compute.randomness import seeded_generator
from vaepipe.models.distributions import DiagonalNormal

TOGETHER, VALUES = 1024, 2**22
"""Most rows of a vectorised backward pass, and values of their images: small batches get faster, large ones
would only take memory."""

Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Inputs (B, n) and the numbers (B,) of their pairs → two arrays of B rows, which do not interact."""


class Objective:
    """The divergence φ of P pairs under one loss. Rows of a batch do not depend on each other.

    Args:
        model, x, target, seed, draws, batch_size: as in `vaepipe.attacks.run_attack`.
        loss: with its facts.

    Attributes:
        x: (P, n) flat images.
        target: (P, n) flat targets; None for a loss without target.
        residuals: of the loss; None for a loss that has none.
        vectorised: whether several backward passes are computed as one; False once the model has refused it.
    """

    def __init__(
        self, model: Any, x: Tensor, target: Tensor, loss: Loss, *, seed: int, draws: int, batch_size: int
    ):
        self.convolutions = fast_convolutions(model)
        with self.convolutions:
            goals = posteriors(model, target, batch_size, loss)
            noise = pair_noise(x, target, draws, sum(q.mean.shape[-1] for q in goals), seed)
            setting = Setting(model, x, target, goals, noise, batch_size)
            self.divergence = loss.build(setting)
            self.residuals = loss.residuals and loss.residuals(setting)
        self.vectorised = True
        self.latent_sizes = [q.mean.shape[-1] for q in goals]
        self.image_shape, self.batch_size = x.shape[1:], batch_size
        self.x = x.flatten(1)
        self.target = target.flatten(1) if loss.has_target else None

    def value(self, u: Tensor, pair: Tensor) -> Tensor:
        """Return φ (B,) at the inputs ``u`` (B, n) of the given pairs (B,)."""
        with self.convolutions:
            return self.divergence(u.unflatten(1, self.image_shape), pair)

    def value_and_grad(self, u: Tensor, pair: Tensor) -> tuple[Tensor, Tensor]:
        """Return φ (B,) and ∇φ (B, n) at the inputs ``u`` (B, n) of the given pairs (B,)."""
        try:
            return self._value_and_grad(u, pair)
        except Exception:  # such as layers that the backward pass computes once more, in the ordinary way
            if isinstance(self.convolutions, nullcontext):
                raise
            self.convolutions = nullcontext()
            return self._value_and_grad(u, pair)

    def _value_and_grad(self, u: Tensor, pair: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            value = self.value(u, pair)
            (grad,) = torch.autograd.grad(value.sum(), u)
        return value.detach(), grad

    @cached_property
    def residual_count(self) -> int:
        """m; 0 for a loss without residuals."""
        first = torch.zeros(self.batch_size, dtype=torch.long, device=self.x.device)
        return self.residuals_at(self.x[first], first).shape[1] if self.residuals else 0

    def residuals_and_jacobian(self, u: Tensor, pair: Tensor) -> tuple[Tensor, Tensor]:
        """Return the residuals (B, m) and their Jacobian (B, m, n) at ``u`` (B, n) of the given pairs (B,).

        It takes a forward and m backward passes, of which up to `TOGETHER` rows are computed together.
        """
        assert self.residuals
        with torch.enable_grad(), self.convolutions:
            u = u.detach().requires_grad_()
            r = self.residuals(u.unflatten(1, self.image_shape), pair)

            def backward(weights: Tensor) -> Tensor:
                return torch.autograd.grad(r, u, weights.expand_as(r), retain_graph=True)[0]

            units, chunk = torch.eye(r.shape[1]).to(r), max(1, min(TOGETHER, VALUES // u.shape[1]) // len(u))
            if self.vectorised:
                try:
                    with warnings.catch_warnings(action="error"):  # one says that an operation is slow so
                        J = torch.func.vmap(backward, chunk_size=chunk)(units)
                except Exception:  # an operation has no rule for it; other errors come again below
                    self.vectorised = False
            if not self.vectorised:
                J = torch.stack([backward(unit) for unit in units])
        return r.detach(), J.transpose(0, 1).contiguous()

    def residuals_at(self, u: Tensor, pair: Tensor) -> Tensor:
        """Return the residuals (B, m) at the inputs ``u`` (B, n) of the given pairs (B,)."""
        assert self.residuals
        with torch.no_grad(), self.convolutions:
            return self.residuals(u.unflatten(1, self.image_shape), pair)

    def initial(self, pair: Tensor) -> Tensor:
        """Return φ (R,) without distortion, for the given pairs (R,)."""
        rows = torch.arange(len(pair), device=pair.device)
        return in_batches(lambda row: self.value(self.x[pair[row]], pair[row]), rows, self.batch_size)

    def sizes_with_identical_rounding(self, evaluate: Evaluate, batch_size: int) -> list[int]:
        """Return the halves, quarters, … of a batch size in which every row has the bits of a whole batch.

        The list increases, and ends at a sixteenth, as a trial of smaller parts would take longer than they
        save. It is empty on a GPU, where small batches take as long as large ones.

        Args:
            evaluate: `value_and_grad` or `residuals_and_jacobian`.
        """
        if self.x.is_cuda:
            return []
        pair = torch.arange(batch_size) % len(self.x)
        random = seeded_generator("cpu", "alike")
        u = torch.rand(len(pair), self.x.shape[1], generator=random).to(self.x)
        whole, sizes = evaluate(u, pair), list[int]()
        for parts in (2, 4, 8, 16):
            size = batch_size // parts
            # the rows between the first and the last part are computed by the same loop
            if not size or not all(
                torch.equal(alone, rows[part])
                for part in (slice(size), slice(batch_size - size, None))
                for alone, rows in zip(evaluate(u[part], pair[part]), whole)
            ):
                break
            sizes.append(size)
        return sizes[::-1]


def posteriors(model: Any, x: Tensor, batch_size: int, loss: Loss) -> list[DiagonalNormal]:
    """Return the posteriors of ``x``, one (P, D_l) per layer.

    Raises:
        Refused: as `vaepipe.attacks.arguments.check_posterior`.
    """
    sizes: list[int] = []

    def packed(batch: Tensor) -> Tensor:
        layers = model.posterior(batch)
        check_posterior(layers, len(batch), loss)
        sizes[:] = [q.mean.shape[1] for q in layers]
        return torch.cat([part for q in layers for part in q], dim=1)

    rows = in_batches(packed, x, batch_size)
    parts = rows.split([size for D in sizes for size in (D, D)], dim=1)
    return [DiagonalNormal(mean, log_std) for mean, log_std in zip(parts[::2], parts[1::2])]


def pair_noise(x: Tensor, target: Tensor, draws: int, size: int, seed: int | str) -> Tensor:
    """Return (S, P, D) standard normal noise; that of a pair depends on its images and the seed alone."""
    generators = [
        seeded_generator("cpu", "pair", seed, *(image.cpu().numpy().tobytes() for image in pair))
        for pair in zip(x, target)
    ]
    return torch.stack([torch.randn(draws, size, generator=g) for g in generators], 1).to(x)
