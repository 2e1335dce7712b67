"""Training objectives, one function each, as losses to minimise: nats, summed over pixels and dimensions, mean over images.

    AE         −log p(x|z), z = μ(x)
    VAE        −[ log p(x|z) − KL(q(z|x) ‖ p(z)) ]                        Kingma & Welling 2014
    β-VAE      −[ log p(x|z) − β KL(q(z|x) ‖ p(z)) ]                      Higgins et al. 2017
    β-TCVAE    −[ log p(x|z) − KL(q(z|x) ‖ p(z)) ] + (β − 1) TC(q(z))     Chen et al. 2018
    Seatbelt   −[ log p(x|z₁…z_L) − Σ_l KL_l ] + (β − 1) TC(q(z_L))       Willetts et al. 2021

The KL is the closed form, log p(x|z) and TC take one sample of z. At β = 1, VAE, β-VAE and β-TCVAE are one model, which the
grid trains once; a Seatbelt-VAE of one layer is the β-TCVAE.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vaepipe.models.distributions import DiagonalNormal
from vaepipe.models.total_correlation import total_correlation


class Terms(NamedTuple):
    """What a model says of a batch. ``log_likelihood``: (B,) nats; a layer each: ``kl_terms`` (B, D_l) nats per dimension,
    ``samples`` (B, D_l), ``posteriors``, of which the samples are."""

    log_likelihood: Tensor
    kl_terms: tuple[Tensor, ...]
    samples: tuple[Tensor, ...]
    posteriors: tuple[DiagonalNormal, ...]

    @property
    def kl(self) -> Tensor:
        """(B,) KL summed over dimensions and layers."""
        return sum(terms.sum(-1) for terms in self.kl_terms)

    @property
    def elbo(self) -> Tensor:
        """(B,) β = 1 evidence lower bound."""
        return self.log_likelihood - self.kl


def terms(model, x: Tensor, noise: Tensor) -> Terms:
    """The ELBO's terms for images ``x`` (B, C, H, W) in [0,1], or points (B, D), with standard normal ``noise`` (B, Σ D_l)."""
    posteriors, samples = model.infer(x, noise)
    kl_terms = tuple(q.kl_terms(p) for q, p in zip(posteriors, model.priors(*samples)))
    return Terms(model.decode(*samples).log_prob(x), kl_terms, samples, posteriors)


def log_weights(model, x: Tensor, noise: Tensor) -> Tensor:
    """(B,) log p(x, z) − log q(z|x) at a sample z of all layers, whose mean over samples of the exponential is p(x)."""
    posteriors, samples = model.infer(x, noise)
    total = model.decode(*samples).log_prob(x)
    for q, p, z in zip(posteriors, model.priors(*samples), samples):
        standard = DiagonalNormal(torch.zeros_like(z), torch.zeros_like(z))
        total = total + (p or standard).log_prob(z) - q.log_prob(z)
    return total


def ae(t: Terms, beta: float, dataset_size: int, options: dict) -> Tensor:
    return -t.log_likelihood.mean()


def vae(t: Terms, beta: float, dataset_size: int, options: dict) -> Tensor:
    return -t.elbo.mean()


def beta_vae(t: Terms, beta: float, dataset_size: int, options: dict) -> Tensor:
    return -(t.log_likelihood - beta * t.kl).mean()


def beta_tcvae(t: Terms, beta: float, dataset_size: int, options: dict) -> Tensor:
    return -t.elbo.mean() + _weighted_tc(t, beta, dataset_size, options)


def seatbelt(t: Terms, beta: float, dataset_size: int, options: dict) -> Tensor:
    if len(t.kl_terms) == 1:
        return beta_tcvae(t, beta, dataset_size, options)
    # free bits (Kingma et al. 2016): a dimension pays no KL below the allowance, averaged over the batch
    rate = sum(torch.clamp(kl.mean(0), min=options["free_bits"]).sum() for kl in t.kl_terms)
    return -t.log_likelihood.mean() + rate + _weighted_tc(t, beta, dataset_size, options)


def _weighted_tc(t: Terms, beta: float, dataset_size: int, options: dict) -> Tensor | float:
    """(β − 1) times the minibatch total correlation of the top layer, which costs nothing at β = 1."""
    if beta == 1:
        return 0.0
    return (beta - 1) * total_correlation(t.samples[-1], *t.posteriors[-1], dataset_size, options["estimator"])


OBJECTIVES: dict[str, Callable[[Terms, float, int, dict], Tensor]] = {
    "ae": ae,
    "vae": vae,
    "beta-vae": beta_vae,
    "beta-tcvae": beta_tcvae,
    "seatbelt": seatbelt,
}
