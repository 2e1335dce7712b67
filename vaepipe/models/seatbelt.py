"""Seatbelt-VAE (Willetts et al. 2021): L stochastic layers, all seen by the likelihood; the top one's TC is penalised.

q(z|x) = q(z₁|x) Π q(z_{l+1}|z_l, x)        p(x, z) = p(x|z₁…z_L) Π p(z_l|z_{l+1}) p(z_L),  p(z_L) = N(0, I)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vaepipe.models.distributions import DiagonalNormal
from vaepipe.models.networks import NETWORKS
from vaepipe.models.vae import VAE, single

CONTEXT = 128
"""Numbers that tell the upper posteriors of x. Assumption."""
WIDTHS = (1024, 512, 256, 128, 64)
"""Hidden widths of the networks between layers l and l + 1. Assumption."""
BOUND = 5.0
"""ln σ of the distributions between layers stays within ± this. Without a bound training breaks: four layers on the digits reach
KLs of 10¹² nats. Assumption."""


class Seatbelt(VAE):
    """``d_z`` is the top layer's size; each layer below has twice the one above. With one layer it is the VAE.

    Args:
        layers: L, stochastic layers. The other arguments are those of `VAE`.
    """

    def __init__(self, shape, d_z: int, network: str, likelihood: str, sigma_x: float, hidden=(), layers: int = 4):
        self.layers = layers
        super().__init__(shape, d_z, network, likelihood, sigma_x, hidden)
        between = list(zip(self.latent_sizes[:-1], self.latent_sizes[1:], WIDTHS + WIDTHS[-1:] * layers))
        if between:
            self.context = NETWORKS[network](tuple(shape), CONTEXT, 1, list(hidden))[0]
        self.up = nn.ModuleList(Between(below + CONTEXT, above, width) for below, above, width in between)
        self.down = nn.ModuleList(Between(above, below, width) for below, above, width in between)

    def sizes(self, d_z: int) -> tuple[int, ...]:
        return tuple(d_z * 2**above for above in reversed(range(self.layers)))

    def infer(self, x: Tensor, noise: Tensor | None = None) -> tuple[tuple[DiagonalNormal, ...], tuple[Tensor, ...]]:
        noises = [None] * len(self.latent_sizes) if noise is None else noise.split(self.latent_sizes, dim=-1)
        (q,), (z,) = super().infer(x, noises[0])
        posteriors, samples = [q], [z]
        context = self.context(x) if self.up else None
        for network, eps in zip(self.up, noises[1:]):
            q = network(torch.cat([z, context.expand(*z.shape[:-1], -1)], -1))
            z = q.mean if eps is None else q.sample(eps)
            posteriors.append(q)
            samples.append(z)
        return tuple(posteriors), tuple(samples)

    def priors(self, *samples: Tensor) -> tuple[DiagonalNormal | None, ...]:
        return (*(network(z) for network, z in zip(self.down, samples[1:])), None)


class Between(nn.Sequential):
    """(…, inputs) → a normal of ``size`` dimensions, by two hidden layers with BatchNorm and leaky ReLU."""

    def __init__(self, inputs: int, size: int, width: int):
        layers: list[nn.Module] = []
        for before, after in ((inputs, width), (width, width)):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.LeakyReLU()]
        super().__init__(*layers, nn.Linear(width, 2 * size))

    def forward(self, v: Tensor) -> DiagonalNormal:
        mean, log_std = single(super().forward(v.flatten(0, -2))).unflatten(0, v.shape[:-1]).chunk(2, dim=-1)
        return DiagonalNormal(mean, BOUND * torch.tanh(log_std / BOUND))
