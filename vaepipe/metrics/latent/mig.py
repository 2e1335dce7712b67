"""The mutual information gap. Chen et al. 2018, section 4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.metrics.latent_metric import LatentMetric, Posteriors
from vaepipe.storage.quantity import Quantity

if TYPE_CHECKING:
    from vaepipe.metrics.estimate import Estimate


def measure(posteriors: Posteriors) -> tuple[Estimate]:
    """Mean gap over the known factors, in [0,1]."""
    from vaepipe.metrics.estimate import Estimate
    from vaepipe.metrics.mig import mutual_information_gap

    assert posteriors.factors is not None
    gap = mutual_information_gap(posteriors.mean, posteriors.log_std, posteriors.sample, posteriors.factors)
    return (Estimate(gap.value, gap.standard_error),)


METRIC = LatentMetric(
    quantities=(Quantity("mig", "mutual information gap, top layer; empty where no factors are known"),),
    measure=measure,
    needs_factors=True,
)
