"""The mean overlap of the posteriors of two images, by the Bhattacharyya coefficient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.metrics.latent_metric import LatentMetric, Posteriors
from vaepipe.storage.quantity import Quantity

if TYPE_CHECKING:
    from vaepipe.metrics.estimate import Estimate


def measure(posteriors: Posteriors) -> tuple[Estimate]:
    """Mean coefficient over all pairs of images."""
    from vaepipe.metrics.overlap import pairwise_overlap

    return (pairwise_overlap(posteriors.mean, posteriors.log_std).coefficient,)


METRIC = LatentMetric(
    quantities=(Quantity("overlap", "mean Bhattacharyya coefficient of two images' posteriors, top layer"),),
    measure=measure,
)
