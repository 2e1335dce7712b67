"""The terms of the evidence lower bound, from which the families make their objectives.

Values are in nats, summed over pixels and dimensions. The KL is the closed form, unless it is asked for at a
sample; log p(x|z) and the total correlation take one sample of z.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor

from vaepipe.models.distributions import DiagonalNormal
from vaepipe.models.total_correlation import total_correlation

if TYPE_CHECKING:
    from vaepipe.models.interface import Model, TrainSettings

HIERARCHICAL_FREE_BITS = 0.125
"""Free bits of a model with several layers if `train.free_bits` is null; see there."""


class Terms(NamedTuple):
    """The terms of a batch of B images.

    Attributes:
        log_likelihood: (B,) log p(x|z), nats.
        kl_terms: one (B, D_l) per layer, nats per dimension.
        samples: one (B, D_l) per layer, drawn from ``posteriors``.
        posteriors: one per layer.
    """

    log_likelihood: Tensor
    kl_terms: tuple[Tensor, ...]
    samples: tuple[Tensor, ...]
    posteriors: tuple[DiagonalNormal, ...]

    @property
    def kl(self) -> Tensor:
        """(B,) KL summed over dimensions and layers."""
        return cast(Tensor, sum(terms.sum(-1) for terms in self.kl_terms))

    @property
    def elbo(self) -> Tensor:
        """(B,) β = 1 evidence lower bound."""
        return self.log_likelihood - self.kl


def terms(model: Model, x: Tensor, noise: Tensor, kl: str = "closed-form") -> Terms:
    """The terms for a batch.

    Args:
        x: images (B, C, H, W) in [0,1], or points (B, n).
        noise: (B, Σ D_l), standard normal.
        kl: ``"closed-form"``, or ``"sample"``: log q(z|x) − log p(z) at the one sample.
    """
    posteriors, samples = model.infer(x, noise)
    priors = model.priors(*samples)
    if kl == "closed-form":
        kl_terms = tuple(q.kl_terms(p) for q, p in zip(posteriors, priors))
    else:
        kl_terms = tuple(q.log_ratio_terms(z, p) for q, z, p in zip(posteriors, samples, priors))
    return Terms(model.decode(*samples).log_prob(x), kl_terms, samples, posteriors)


def log_weights(model: Model, x: Tensor, noise: Tensor) -> Tensor:
    """(B,) log p(x, z) − log q(z|x) at one sample z of all layers.

    The mean over samples of the exponential estimates p(x). Arguments as `terms`.
    """
    posteriors, samples = model.infer(x, noise)
    total = model.decode(*samples).log_prob(x)
    for q, p, z in zip(posteriors, model.priors(*samples), samples):
        standard = DiagonalNormal(torch.zeros_like(z), torch.zeros_like(z))
        total = total + (p or standard).log_prob(z) - q.log_prob(z)
    return total


def negative_elbo(terms: Terms, settings: TrainSettings, kl_weight: float = 1.0) -> Tensor:
    """−log p(x|z) + ``kl_weight`` × KL, mean over images, nats.

    ``settings.likelihood_weight`` multiplies log p(x|z). With free bits (Kingma et al. 2016) a dimension pays
    no KL below the allowance, averaged over the batch.
    """
    free_bits = settings.free_bits
    if free_bits is None:
        free_bits = HIERARCHICAL_FREE_BITS if len(terms.kl_terms) > 1 else 0
    likelihood = settings.likelihood_weight * terms.log_likelihood
    if free_bits == 0:
        return -(likelihood - kl_weight * terms.kl).mean()
    rate = sum(torch.clamp(kl.mean(0), min=free_bits).sum() for kl in terms.kl_terms)
    return -likelihood.mean() + kl_weight * rate


def weighted_tc(terms: Terms, beta: float, dataset_size: int, estimator: str) -> Tensor | float:
    """(β − 1) times the minibatch total correlation of the top layer, a scalar in nats; 0.0 at β = 1."""
    if beta == 1:
        return 0.0
    return (beta - 1) * total_correlation(terms.samples[-1], *terms.posteriors[-1], dataset_size, estimator)
