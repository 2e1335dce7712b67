"""What attacks minimise beside their penalty: one function each. Nats, or their own unit, summed over layers.

A loss is built once from the `Setting` of P pairs and gives ``divergence(x (B, C, H, W), pair (B,)) -> (B,)``. It knows of
the model only ``posterior(x)``, a sequence of diagonal normals with one per stochastic layer, and, where pictures count,
``decode(*z)``. Latent losses of a hierarchical model take the posteriors of upper layers at the means of the lower ones;
`output` and `max-damage` sample all layers, by ``infer(x, noise)`` where the model has it.

    latent-kl          KL(q(z|x+d) ‖ q(z|x_t))                             Tabacof et al. 2016; Gondim-Ribeiro et al. 2018
    latent-kl-forward  KL(q(z|x_t) ‖ q(z|x+d))                             Kuzina et al. 2022
    latent-skl         half the sum of the two                             Kuzina et al. 2021
    latent-w2          squared 2-Wasserstein distance of the two           Willetts et al. 2021, part 2
    latent-w2-root     the distance itself
    latent-mean        ‖μ(x+d) − μ(x_t)‖²                                  Tabacof et al. 2016, for autoencoders
    output             −E log p(x_t|z) + KL(q(z|x+d) ‖ p(z))               Willetts et al. 2021
    max-damage         −E ‖dec(z) − dec(μ(x))‖₂, z ~ q(z|x+d); no target   Camuto et al. 2021
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vaepipe.models.distributions import DiagonalNormal

Divergence = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Setting:
    """What is attacked. ``x``, ``target``: (P, C, H, W); ``goals``: the targets' posteriors, a layer each (P, D_l);
    ``noise``: (S, P, Σ D_l) standard normal, each pair's own for all iterations and λ; ``batch_size``: images at once."""

    model: object
    x: Tensor
    target: Tensor
    goals: list[DiagonalNormal]
    noise: Tensor
    batch_size: int


def between(distance: Callable[[DiagonalNormal, DiagonalNormal], Tensor]) -> Callable[[Setting], Divergence]:
    """The loss that sums a ``distance`` of the posteriors of x + d and x_t, (B, D_l) each, over layers."""

    def loss(setting: Setting) -> Divergence:
        def divergence(x: Tensor, pair: Tensor) -> Tensor:
            return sum(distance(q, goal.rows(pair)) for q, goal in zip(setting.model.posterior(x), setting.goals))

        return divergence

    return loss


def kl(q: DiagonalNormal, goal: DiagonalNormal) -> Tensor:
    return q.kl(goal)


def kl_forward(q: DiagonalNormal, goal: DiagonalNormal) -> Tensor:
    return goal.kl(q)


def skl(q: DiagonalNormal, goal: DiagonalNormal) -> Tensor:
    return 0.5 * (q.kl(goal) + goal.kl(q))


def mean(q: DiagonalNormal, goal: DiagonalNormal) -> Tensor:
    return (q.mean - goal.mean).square().sum(-1)


def w2(q: DiagonalNormal, goal: DiagonalNormal) -> Tensor:
    return mean(q, goal) + (q.log_std.exp() - goal.log_std.exp()).square().sum(-1)


def w2_root(setting: Setting) -> Divergence:
    squared = between(w2)(setting)
    return lambda x, pair: squared(x, pair).clamp(min=1e-24).sqrt()  # at distance 0 the root has no gradient: clamp gives 0


def output(setting: Setting) -> Divergence:
    """A posterior without width, an autoencoder's, has no KL: there it is the reconstruction term alone."""
    priced = all(q.log_std.isfinite().all() for q in setting.goals)

    def divergence(x: Tensor, pair: Tensor) -> Tensor:
        posteriors, samples = infer(setting.model, x, setting.noise[:, pair])
        target = setting.target[pair].repeat(len(setting.noise), *[1] * (x.ndim - 1))
        likelihood = setting.model.decode(*(z.flatten(0, 1) for z in samples))
        value = -likelihood.log_prob(target).unflatten(0, (-1, len(x)))  # S, B
        if priced:
            priors = setting.model.priors(*samples) if hasattr(setting.model, "priors") else [None] * len(posteriors)
            value = value + sum(q.kl(p) for q, p in zip(posteriors, priors))
        return value.mean(0)

    return divergence


def max_damage(setting: Setting) -> Divergence:
    def picture_at_mean(x: Tensor) -> Tensor:
        return setting.model.decode(*(q.mean for q in setting.model.posterior(x))).mean

    pictures = in_batches(picture_at_mean, setting.x, setting.batch_size)

    def divergence(x: Tensor, pair: Tensor) -> Tensor:
        samples = infer(setting.model, x, setting.noise[:, pair])[1]
        picture = setting.model.decode(*(z.flatten(0, 1) for z in samples)).mean.unflatten(0, (-1, len(x)))
        return -torch.linalg.vector_norm((picture - pictures[pair]).flatten(2), dim=2).mean(0)

    return divergence


def infer(model, x: Tensor, noise: Tensor) -> tuple[tuple[DiagonalNormal, ...], tuple[Tensor, ...]]:
    """(posteriors, samples), a layer each, with ``noise`` (S, B, Σ D_l). A model without ``infer`` is sampled layer by layer,
    each posterior as it gives it."""
    if hasattr(model, "infer"):
        return model.infer(x, noise)
    posteriors = tuple(model.posterior(x))
    noises = noise.split([q.mean.shape[-1] for q in posteriors], dim=-1)
    return posteriors, tuple(q.sample(eps) for q, eps in zip(posteriors, noises))


@torch.no_grad()
def in_batches(f: Callable[[Tensor], Tensor], x: Tensor, size: int) -> Tensor:
    """``f`` of ``x``, row by row, from batches of always the same size, so that no row depends on the others."""
    padding = x[-1:].expand(-len(x) % size, *x.shape[1:])
    return torch.cat([f(batch) for batch in torch.cat([x, padding]).split(size)])[: len(x)]


LOSSES: dict[str, Callable[[Setting], Divergence]] = {
    "latent-kl": between(kl),
    "latent-kl-forward": between(kl_forward),
    "latent-skl": between(skl),
    "latent-w2": between(w2),
    "latent-w2-root": w2_root,
    "latent-mean": between(mean),
    "output": output,
    "max-damage": max_damage,
}
UNTARGETED = ("max-damage",)
"""Losses that are stationary at d = 0, and start elsewhere."""
DECODED = ("output", "max-damage")
"""Losses that need ``decode``."""
NEED_WIDTH = ("latent-kl", "latent-kl-forward", "latent-skl")
"""Losses that are infinite for a posterior without width."""
