"""The model of one stochastic layer that VAE, β-VAE and β-TCVAE share; and the autoencoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vaepipe.models.distributions import Bernoulli, DiagonalNormal, Gaussian
from vaepipe.models.network import find_network

if TYPE_CHECKING:
    from vaepipe.models.interface import ModelSettings


class VAE(nn.Module):
    """q(z|x) a diagonal normal, p(z) = N(0, I), p(x|z) Bernoulli or Gaussian with a fixed standard deviation.

    Args:
        shape: of one image (C, H, W) or point (n,).
        d_z: latent dimensions.
        settings: network, widths of hidden layers, likelihood, ``sigma_x`` of a Gaussian in the data's scale.
    """

    def __init__(self, shape: tuple[int, ...], d_z: int, settings: ModelSettings):
        super().__init__()
        self.likelihood, self.sigma_x = settings.likelihood, settings.sigma_x
        self.latent_sizes = self.layer_sizes(d_z, settings.layers)
        code, latent = 2 * self.latent_sizes[0], sum(self.latent_sizes)
        network = find_network(settings.network)
        self.encoder, self.decoder = network.build(
            tuple(shape), code, latent, list(settings.hidden), settings.batch_norm
        )

    def layer_sizes(self, d_z: int, layers: int) -> tuple[int, ...]:
        """Dimensions D_l of each stochastic layer, the bottom one first: one, whatever ``layers`` is."""
        return (d_z,)

    def posterior(self, x: Tensor) -> tuple[DiagonalNormal, ...]:
        """q(z|x) of ``x`` (B, C, H, W) in [0,1]: one (B, D_l) per layer, lower layers at their means."""
        return self.infer(x)[0]

    def infer(
        self, x: Tensor, noise: Tensor | None = None
    ) -> tuple[tuple[DiagonalNormal, ...], tuple[Tensor, ...]]:
        """(posteriors, samples) of each layer: at standard normal ``noise`` (…, B, Σ D_l), or means."""
        q = DiagonalNormal(*to_float32(self.encoder(x)).chunk(2, dim=1))
        return (q,), (q.mean if noise is None else q.sample(noise),)

    def priors(self, *samples: Tensor) -> tuple[DiagonalNormal | None, ...]:
        """p(z_l|z_{l+1}) of each layer; None is N(0, I)."""
        return (None,)

    def decode(self, *samples: Tensor) -> Bernoulli | Gaussian:
        """p(x|z) of ``z`` (B, D_l), one tensor per layer."""
        output = to_float32(self.decoder(torch.cat(samples, -1)))
        return Bernoulli(output) if self.likelihood == "bernoulli" else Gaussian(output, self.sigma_x)


class AE(VAE):
    """The deterministic limit: posteriors of no width. The KL is infinite, so there is no ELBO."""

    def infer(
        self, x: Tensor, noise: Tensor | None = None
    ) -> tuple[tuple[DiagonalNormal, ...], tuple[Tensor, ...]]:
        """The means, as posteriors of no width and as samples."""
        ((q,), _) = super().infer(x)
        mean = q.mean if noise is None else q.mean.expand_as(noise)
        return (DiagonalNormal(q.mean, torch.full_like(q.log_std, -torch.inf)),), (mean,)


def to_float32(output: Tensor) -> Tensor:
    """bfloat16 output of a network as float32, as densities are sums of many terms; other types stay."""
    return output.float() if output.dtype == torch.bfloat16 else output
