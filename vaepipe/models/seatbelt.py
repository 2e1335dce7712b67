"""The Seatbelt-VAE (Willetts et al. 2021): L stochastic layers, all of which the likelihood sees.

q(z|x) = q(z₁|x) Π q(z_{l+1}|z_l, x)        p(x, z) = p(x|z₁…z_L) Π p(z_l|z_{l+1}) p(z_L),  p(z_L) = N(0, I)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaepipe.models.distributions import DiagonalNormal
from vaepipe.models.network import find_network
from vaepipe.models.vae import VAE, to_float32

if TYPE_CHECKING:
    from vaepipe.models.interface import ModelSettings

CONTEXT = 128
"""Size of the code of x that the upper posteriors see. Assumption."""
BOUND = 5.0
"""ln σ of the distributions between layers stays within ± this. Without a bound training breaks: four layers
on the digits reach KLs of 10¹² nats. Assumption."""


class Seatbelt(VAE):
    """``d_z`` is the size of the top layer; each layer below is twice as large. With one layer it is the VAE.

    Args:
        settings: as of `VAE`, and ``layers``, the number L of stochastic layers, and ``between``, the hidden
            widths of the networks between layers l and l + 1.
    """

    def __init__(self, shape: tuple[int, ...], d_z: int, settings: ModelSettings):
        super().__init__(shape, d_z, settings)
        widths = [*settings.between, *[settings.between[-1]] * settings.layers]
        between = list(zip(self.latent_sizes[:-1], self.latent_sizes[1:], widths))
        if between:
            network = find_network(settings.network)
            self.context = network.build(
                tuple(shape), CONTEXT, 1, list(settings.hidden), settings.batch_norm
            )[0]
        self.up = nn.ModuleList(Between(below + CONTEXT, above, width) for below, above, width in between)
        self.down = nn.ModuleList(Between(above, below, width) for below, above, width in between)

    def layer_sizes(self, d_z: int, layers: int) -> tuple[int, ...]:
        """(2^(L−1) d_z, …, 2 d_z, d_z)."""
        return tuple(d_z * 2**above for above in reversed(range(layers)))

    def infer(
        self, x: Tensor, noise: Tensor | None = None
    ) -> tuple[tuple[DiagonalNormal, ...], tuple[Tensor, ...]]:
        """(posteriors, samples) of each layer, from the bottom up."""
        layers = len(self.latent_sizes)
        noises = [None] * layers if noise is None else noise.split(self.latent_sizes, dim=-1)
        (q,), (z,) = super().infer(x, noises[0])
        posteriors, samples = [q], [z]
        if not self.up:
            return (q,), (z,)
        context = self.context(x)
        for network, eps in zip(self.up, noises[1:]):
            q = network(torch.cat([z, context.expand(*z.shape[:-1], -1)], -1))
            z = q.mean if eps is None else q.sample(eps)
            posteriors.append(q)
            samples.append(z)
        return tuple(posteriors), tuple(samples)

    def priors(self, *samples: Tensor) -> tuple[DiagonalNormal | None, ...]:
        """p(z_l|z_{l+1}) of each layer; None, N(0, I), of the top one."""
        return (*(network(z) for network, z in zip(self.down, samples[1:])), None)


class Between(nn.Sequential):
    """(…, inputs) → normals of ``size`` dimensions, by two hidden layers with BatchNorm and leaky ReLU."""

    def __init__(self, inputs: int, size: int, width: int):
        layers: list[nn.Module] = []
        for before, after in ((inputs, width), (width, width)):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.LeakyReLU()]
        super().__init__(*layers, nn.Linear(width, 2 * size))

    def forward(self, inputs: Tensor) -> DiagonalNormal:
        """(…, size) the normal; |ln σ| ≤ `BOUND`."""
        rows = to_float32(super().forward(inputs.flatten(0, -2)))
        mean, log_std = rows.unflatten(0, inputs.shape[:-1]).chunk(2, dim=-1)
        return DiagonalNormal(mean, BOUND * torch.tanh(log_std / BOUND))
