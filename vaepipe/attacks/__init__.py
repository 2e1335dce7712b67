"""Attacks on anything that has ``posterior(x)``: all λ × pairs of a model at once.

from vaepipe.attacks import run_attack
result = run_attack(model, x, target, lambdas)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vaepipe import device as devices
from vaepipe.attacks.checks import check_arguments, check_posterior
from vaepipe.attacks.losses import LOSSES, Setting, in_batches
from vaepipe.attacks.solver import minimise
from vaepipe.distributions import DiagonalNormal


@dataclass
class AttackResult:
    """Attacks at L values of λ on P pairs.

    ``distortion`` (L, P, C, H, W): d, with x + d in [0,1]. All others (L, P): ``objective`` = ``divergence`` + λ ‖d‖₂;
    ``own_objective``: what the row reached by itself, before other λ of its pair were looked at; ``norm`` ‖d‖₂ over all
    pixels; ``initial_divergence`` at d = 0; ``iterations``: evaluations of the network; ``converged``: the row stopped by its
    own rule; ``residual``: norm of the projected gradient step. Nats, but for losses that are distances.
    """

    distortion: Tensor
    objective: Tensor
    own_objective: Tensor
    divergence: Tensor
    norm: Tensor
    initial_divergence: Tensor
    iterations: Tensor
    converged: Tensor
    residual: Tensor


def run_attack(
    model,
    x: Tensor,
    target: Tensor,
    lambdas: Tensor,
    loss: str = "latent-kl",
    *,
    seed: int = 0,
    draws: int = 4,
    max_iterations: int = 500,
    tolerance: float = 1e-4,
    batch_size: int = 64,
) -> AttackResult:
    """Minimise loss(x + d, target) + λ‖d‖₂ over d with x + d in [0,1], for each λ and pair.

    The rows (λ, pair) do not interact: each one's result is the same alone or in any company, bit for bit where the
    matrix library rounds a row alike in every place (MKL does with MKL_CBWR=AVX2,STRICT, which `vaepipe.device` sets).

    Args:
        model: in eval mode, with ``posterior(x)``: a sequence of `DiagonalNormal`, one per stochastic layer; for the losses
            ``output`` and ``max-damage`` also with ``decode(*z)``, a likelihood with ``mean`` and ``log_prob(x)``.
        x, target: (P, C, H, W) in [0,1], on the model's device.
        lambdas: (L,) positive.
        loss: a key of `vaepipe.attacks.losses.LOSSES`.
        seed: of the noise behind losses that sample z; each pair's noise comes from it and from the pair's images.
        draws: of z in losses that sample it.
        max_iterations, tolerance: bound and stopping rule of each row, see `vaepipe.attacks.solver.minimise`.
        batch_size: rows that the network sees at once; part of what decides the last bits of the numbers.

    Raises:
        ValueError: images or λ out of range, shapes that do not match, a model in training mode or with weights that are not
            finite, a posterior of the wrong type, an unknown loss.
    """
    check_arguments(model, x, target, lambdas, loss)
    L, P = len(lambdas), len(x)
    goals = posteriors(model, target, batch_size, loss)
    noise = pair_noise(x, target, draws, sum(q.mean.shape[-1] for q in goals), seed)
    divergence = LOSSES[loss](Setting(model, x, target, goals, noise, batch_size))

    def value_and_grad(u: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            value = divergence(u.view(-1, *x.shape[1:]), row % P)
            (grad,) = torch.autograd.grad(value.sum(), u)
        return value.detach(), grad

    flat = x.flatten(1)
    rows = flat.repeat(L, 1)  # row = l · P + p
    lambda_ = lambdas.to(x).repeat_interleave(P)
    options = {"slots": batch_size, "max_iterations": max_iterations, "tolerance": tolerance}
    s = minimise(value_and_grad, rows, lambda_, **options)
    shaped = {name: getattr(s, name).view(L, P) for name in vars(s) if name != "u"}
    return AttackResult((s.u - rows).view(L, *x.shape), own_objective=shaped["objective"].clone(), **shaped)


def posteriors(model, x: Tensor, batch_size: int, loss: str) -> list[DiagonalNormal]:
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
    generators = [devices.generator("cpu", "pair", seed, *(t.cpu().numpy().tobytes() for t in pair)) for pair in zip(x, target)]
    return torch.stack([torch.randn(draws, size, generator=g) for g in generators], 1).to(x)
