"""Attacks on anything that has ``posterior(x)``: all λ × pairs of a model at once.

from vaepipe.attacks import run_attack
result = run_attack(model, x, target, lambdas)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vaepipe.attacks.losses import LOSSES
from vaepipe.attacks.solver import minimise
from vaepipe.distributions import DiagonalNormal


@dataclass
class AttackResult:
    """Attacks at L values of λ on P pairs.

    ``distortion`` (L, P, C, H, W): d, with x + d in [0,1]. All others (L, P): ``objective`` = ``divergence`` + λ ‖d‖₂ in
    nats; ``norm`` ‖d‖₂ over all pixels; ``initial_divergence`` at d = 0; ``iterations``: evaluations of the network;
    ``converged``: the row stopped by its own rule; ``residual``: norm of the projected gradient step.
    """

    distortion: Tensor
    objective: Tensor
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
    max_iterations: int = 500,
    tolerance: float = 1e-4,
    batch_size: int = 64,
) -> AttackResult:
    """Minimise loss(x + d, target) + λ‖d‖₂ over d with x + d in [0,1], for each λ and pair on its own.

    The rows (λ, pair) do not interact: each one's result is the same alone or in any company, bit for bit where the
    matrix library rounds a row alike in every place (MKL does with MKL_CBWR=AVX2,STRICT, which `vaepipe.device` sets).

    Args:
        model: in eval mode, with ``posterior(x)``: a sequence of `DiagonalNormal`, one per stochastic layer.
        x, target: (P, C, H, W) in [0,1], on the model's device.
        lambdas: (L,) positive.
        loss: a key of `vaepipe.attacks.losses.LOSSES`.
        max_iterations, tolerance: bound and stopping rule of each row, see `vaepipe.attacks.solver.minimise`.
        batch_size: rows that the network sees at once; part of what decides the last bits of the numbers.

    Raises:
        ValueError: images or λ out of range, shapes that do not match, a model in training mode, an unknown loss.
    """
    _check(model, x, target, lambdas, loss)
    L, P = len(lambdas), len(x)
    divergence = LOSSES[loss](model, target, _posterior(model, target, batch_size))

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
    return AttackResult((s.u - rows).view(L, *x.shape), **shaped)


@torch.no_grad()
def _posterior(model, x: Tensor, batch_size: int) -> list[DiagonalNormal]:
    """Posteriors of ``x``, a layer each, from batches of always the same size, so that no row depends on the others."""
    padding = x[-1:].expand(-len(x) % batch_size, *x.shape[1:])
    batches = [model.posterior(batch) for batch in torch.cat([x, padding]).split(batch_size)]
    return [DiagonalNormal(*(torch.cat(parts)[: len(x)] for parts in zip(*layer))) for layer in zip(*batches)]


def _check(model, x: Tensor, target: Tensor, lambdas: Tensor, loss: str) -> None:
    if loss not in LOSSES:
        raise ValueError(f"loss: {loss!r} is not one of {', '.join(LOSSES)}")
    if x.shape != target.shape or x.ndim != 4:
        raise ValueError(f"x and target: shapes {tuple(x.shape)} and {tuple(target.shape)}; expected one shape (P, C, H, W)")
    for name, images in (("x", x), ("target", target)):
        if not ((images >= 0) & (images <= 1)).all():
            raise ValueError(f"{name}: holds values outside [0,1]")
    if lambdas.ndim != 1 or not (lambdas.isfinite() & (lambdas > 0)).all():
        raise ValueError("lambdas: must be a one-dimensional tensor of positive numbers")
    if getattr(model, "training", False):
        raise ValueError("model: is in training mode; call model.eval() first")
