"""One stochastic layer: the model behind VAE, β-VAE and β-TCVAE, which differ in how they are trained."""

from __future__ import annotations

from torch import Tensor, nn

from vaepipe.distributions import Bernoulli, DiagonalNormal, Gaussian
from vaepipe.models.networks import NETWORKS


class VAE(nn.Module):
    """q(z|x) a diagonal normal, p(z) = N(0, I), p(x|z) Bernoulli or Gaussian with fixed sigma.

    Args:
        shape: of one image (C, H, W) or point (n,).
        d_z: latent dimensions.
        network: ``"mlp"`` or ``"conv"``.
        hidden: widths of the MLP's hidden layers.
        likelihood: ``"bernoulli"`` or ``"gaussian"``.
        sigma_x: the Gaussian's standard deviation, in the data's scale.
    """

    def __init__(self, shape, d_z: int, network: str, likelihood: str, sigma_x: float, hidden=()):
        super().__init__()
        self.encoder, self.decoder = NETWORKS[network](tuple(shape), d_z, list(hidden))
        self.d_z, self.likelihood, self.sigma_x = d_z, likelihood, sigma_x

    def posterior(self, x: Tensor) -> tuple[DiagonalNormal]:
        """q(z|x) of ``x`` (B, C, H, W) in [0,1]: a sequence with one entry per stochastic layer, here one of (B, d_z)."""
        mean, log_std = self.encoder(x).chunk(2, dim=1)
        return (DiagonalNormal(mean, log_std),)

    def decode(self, z: Tensor) -> Bernoulli | Gaussian:
        """p(x|z) of ``z`` (B, d_z)."""
        out = self.decoder(z)
        return Bernoulli(out) if self.likelihood == "bernoulli" else Gaussian(out, self.sigma_x)
