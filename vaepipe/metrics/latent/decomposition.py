"""The three parts of the KL term over the whole evaluation set. Chen et al. 2018, eq. 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.metrics.latent_metric import LatentMetric, Posteriors
from vaepipe.storage.quantity import Quantity

if TYPE_CHECKING:
    from vaepipe.metrics.estimate import Estimate


def measure(posteriors: Posteriors) -> tuple[Estimate, ...]:
    """Index-code mutual information, total correlation and dimension-wise KL, nats."""
    import torch

    from vaepipe.compute.randomness import seeded_generator
    from vaepipe.metrics.decomposition import decompose

    random = seeded_generator("cpu", "aggregate", posteriors.seed)
    rows = torch.randperm(len(posteriors.mean), generator=random)[: posteriors.samples].to(
        posteriors.mean.device
    )
    parts = decompose(posteriors.mean, posteriors.log_std, posteriors.sample[rows], rows)
    return parts.mutual_information, parts.total_correlation, parts.dimension_wise_kl


METRIC = LatentMetric(
    quantities=(
        Quantity("mutual_information", "I(z; x) of the top layer over the held-out images", "nats"),
        Quantity(
            "total_correlation", "KL(q(z) || prod q(z_k)) of the top layer over the held-out images", "nats"
        ),
        Quantity(
            "dimension_kl", "sum of KL(q(z_k) || p(z_k)) of the top layer over the held-out images", "nats"
        ),
    ),
    measure=measure,
)
