"""Training objectives, one function each, as losses to minimise: nats, summed over pixels and dimensions, mean over images.

    VAE        −[ log p(x|z) − KL(q(z|x) ‖ p(z)) ]                        Kingma & Welling 2014
    β-VAE      −[ log p(x|z) − β KL(q(z|x) ‖ p(z)) ]                      Higgins et al. 2017
    β-TCVAE    −[ log p(x|z) − KL(q(z|x) ‖ p(z)) ] + (β − 1) TC(q(z))     Chen et al. 2018

The KL is the closed form, log p(x|z) and TC take one sample of z. At β = 1 all three are the VAE; the grid trains it once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from vaepipe.distributions import DiagonalNormal
from vaepipe.total_correlation import total_correlation


class Terms(NamedTuple):
    """What a model says of a batch. ``log_likelihood``, ``kl``: (B,) nats; ``z``: (B, D), a sample of ``posterior``."""

    log_likelihood: Tensor
    kl: Tensor
    z: Tensor
    posterior: DiagonalNormal

    @property
    def elbo(self) -> Tensor:
        """(B,) β = 1 evidence lower bound."""
        return self.log_likelihood - self.kl


def terms(model, x: Tensor, noise: Tensor) -> Terms:
    """The ELBO's terms for images ``x`` (B, C, H, W) in [0,1], or points (B, D), with standard normal ``noise`` (B, d_z)."""
    (posterior,) = model.posterior(x)
    z = posterior.sample(noise)
    return Terms(model.decode(z).log_prob(x), posterior.kl_from_standard(), z, posterior)


def vae(t: Terms, beta: float, dataset_size: int, estimator: str) -> Tensor:
    return -t.elbo.mean()


def beta_vae(t: Terms, beta: float, dataset_size: int, estimator: str) -> Tensor:
    return -(t.log_likelihood - beta * t.kl).mean()


def beta_tcvae(t: Terms, beta: float, dataset_size: int, estimator: str) -> Tensor:
    return -t.elbo.mean() + (beta - 1) * total_correlation(t.z, *t.posterior, dataset_size, estimator)


OBJECTIVES: dict[str, Callable[[Terms, float, int, str], Tensor]] = {
    "vae": vae,
    "beta-vae": beta_vae,
    "beta-tcvae": beta_tcvae,
}
