"""Hamiltonian Monte Carlo on a batch of independent chains, each with its own step size."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Chains(NamedTuple):
    """Last points of the chains (B, D), mean probabilities of acceptance (B,), last step sizes (B,)."""

    z: Tensor
    acceptance: Tensor
    step_size: Tensor


def hmc(
    log_density: Callable[[Tensor], Tensor],
    z: Tensor,
    steps: int,
    generator: torch.Generator,
    *,
    step_size: float = 0.1,
    leapfrogs: int = 5,
    target: float = 0.9,
    differentiable: bool = False,
) -> Chains:
    """Move every chain ``steps`` proposals towards exp(log_density), unnormalised.

    The step size of each chain is adapted towards the acceptance ``target`` by a Robbins–Monro rule on its
    logarithm whose gain falls as t^−0.6, so that late steps hardly change it. Each proposal takes 0.8 to 1.2
    of it at random: trajectories of one length can come back to where they began in some direction, time
    after time (Neal 2011). A proposal whose energy is not finite is refused.

    Args:
        log_density: (B, D) → (B,), row by row.
        z: (B, D) starts.
        generator: of momenta and acceptances, the same numbers for the same seed and shape.
        differentiable: keep the graph from the result back to the start and to whatever ``log_density``
            holds; which proposals are accepted counts as given.

    Source: Neal 2011; as a defence Kuzina et al. 2022.
    """
    z = z if differentiable else z.detach()
    size = torch.full_like(z[:, 0], step_size).detach()
    total = torch.zeros_like(size)
    for t in range(1, steps + 1):
        momentum = torch.randn(z.shape, generator=generator, device=z.device).to(z)
        uniform, jitter = torch.rand(2, len(z), generator=generator, device=z.device).to(z)
        before, _ = _value_and_grad(log_density, z, False)
        proposal, moved = _leapfrog(
            log_density, z, momentum, (size * (0.8 + 0.4 * jitter))[:, None], leapfrogs, differentiable
        )
        after, _ = _value_and_grad(log_density, proposal, False)
        gain = (after - before + 0.5 * (momentum.square() - moved.square()).sum(1)).detach()
        probability = torch.where(gain.isfinite(), gain.clamp(max=0).exp(), 0.0)
        accepted = (uniform < probability)[:, None]
        z = torch.where(accepted, proposal if differentiable else proposal.detach(), z)
        total += probability
        size = size * ((probability - target) * t**-0.6).exp()
    return Chains(z, total / max(1, steps), size)


def _leapfrog(
    log_density, z: Tensor, momentum: Tensor, size: Tensor, count: int, differentiable: bool
) -> tuple[Tensor, Tensor]:
    momentum = momentum + 0.5 * size * _value_and_grad(log_density, z, differentiable)[1]
    for i in range(count):
        z = z + size * momentum
        momentum = (
            momentum
            + (1 if i < count - 1 else 0.5) * size * _value_and_grad(log_density, z, differentiable)[1]
        )
    return z, momentum


def _value_and_grad(log_density, z: Tensor, differentiable: bool) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        if not differentiable:
            z = z.detach().requires_grad_()
        elif not z.requires_grad:
            z = z.requires_grad_()
        value = log_density(z)
        (grad,) = torch.autograd.grad(value.sum(), z, create_graph=differentiable)
    return value, grad
