"""The terms of the evidence lower bound, from which the families make their objectives.

Values are in nats, summed over pixels and dimensions. The KL is the closed form; log p(x|z) and the total
correlation take one sample of z.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor

from vaepipe.models.distributions import DiagonalNormal
from vaepipe.models.total_correlation import total_correlation

if TYPE_CHECKING:
    from vaepipe.models.interface import Model


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


def terms(model: Model, x: Tensor, noise: Tensor) -> Terms:
    """The terms for a batch.

    Args:
        x: images (B, C, H, W) in [0,1], or points (B, n).
        noise: (B, Σ D_l), standard normal.
    """
    posteriors, samples = model.infer(x, noise)
    kl_terms = tuple(q.kl_terms(p) for q, p in zip(posteriors, model.priors(*samples)))
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


def weighted_tc(terms: Terms, beta: float, dataset_size: int, estimator: str) -> Tensor | float:
    """(β − 1) times the minibatch total correlation of the top layer, a scalar in nats; 0.0 at β = 1."""
    if beta == 1:
        return 0.0
    return (beta - 1) * total_correlation(terms.samples[-1], *terms.posteriors[-1], dataset_size, estimator)
