"""One stochastic layer: the model behind VAE, β-VAE and β-TCVAE, which differ in how they are trained; and the autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vaepipe.models.distributions import Bernoulli, DiagonalNormal, Gaussian
from vaepipe.models.networks import NETWORKS


class VAE(nn.Module):
    """q(z|x) a diagonal normal, p(z) = N(0, I), p(x|z) Bernoulli or Gaussian with fixed sigma.

    Args:
        shape: of one image (C, H, W) or point (n,).
        d_z: latent dimensions.
        network: a key of `vaepipe.models.networks.NETWORKS`.
        likelihood: ``"bernoulli"`` or ``"gaussian"``.
        sigma_x: the Gaussian's standard deviation, in the data's scale.
        hidden: widths of the MLP's hidden layers.
    """

    def __init__(self, shape, d_z: int, network: str, likelihood: str, sigma_x: float, hidden=()):
        super().__init__()
        self.latent_sizes, self.likelihood, self.sigma_x = self.sizes(d_z), likelihood, sigma_x
        code, latent = 2 * self.latent_sizes[0], sum(self.latent_sizes)
        self.encoder, self.decoder = NETWORKS[network](tuple(shape), code, latent, list(hidden))

    def sizes(self, d_z: int) -> tuple[int, ...]:
        """Dimensions D_l of each stochastic layer, the bottom one first."""
        return (d_z,)

    def posterior(self, x: Tensor) -> tuple[DiagonalNormal, ...]:
        """q(z|x) of ``x`` (B, C, H, W) in [0,1]: one (B, D_l) per stochastic layer, lower layers at their means."""
        return self.infer(x)[0]

    def infer(self, x: Tensor, noise: Tensor | None = None) -> tuple[tuple[DiagonalNormal, ...], tuple[Tensor, ...]]:
        """(posteriors, samples), a layer each, with standard normal ``noise`` (…, B, Σ D_l); without noise, the means."""
        q = DiagonalNormal(*single(self.encoder(x)).chunk(2, dim=1))
        return (q,), (q.mean if noise is None else q.sample(noise),)

    def priors(self, *samples: Tensor) -> tuple[DiagonalNormal | None, ...]:
        """p(z_l|z_{l+1}) for each layer; None is N(0, I)."""
        return (None,)

    def decode(self, *samples: Tensor) -> Bernoulli | Gaussian:
        """p(x|z) of ``z`` (B, D_l), a tensor per layer."""
        out = single(self.decoder(torch.cat(samples, -1)))
        return Bernoulli(out) if self.likelihood == "bernoulli" else Gaussian(out, self.sigma_x)


class AE(VAE):
    """The deterministic limit: the VAE's networks, posteriors of no width. Its KL is infinite, so it has no ELBO."""

    def infer(self, x: Tensor, noise: Tensor | None = None) -> tuple[tuple[DiagonalNormal, ...], tuple[Tensor, ...]]:
        ((q,), _) = super().infer(x)
        mean = q.mean if noise is None else q.mean.expand_as(noise)
        return (DiagonalNormal(q.mean, torch.full_like(q.log_std, -torch.inf)),), (mean,)


def single(v: Tensor) -> Tensor:
    """What a network says, in float32 where it computed in bfloat16: densities are sums of many terms."""
    return v.float() if v.dtype == torch.bfloat16 else v
