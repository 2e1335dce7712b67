"""The number of active dimensions. Burda et al. 2016, section 5.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.metrics.latent_metric import LatentMetric, Posteriors
from vaepipe.storage.quantity import Quantity

if TYPE_CHECKING:
    from vaepipe.metrics.estimate import Estimate


def measure(posteriors: Posteriors) -> tuple[Estimate]:
    """Count of active dimensions, with a standard error by a bootstrap over images."""
    from vaepipe.metrics.activity import count_active

    return (count_active(posteriors.mean),)


METRIC = LatentMetric(
    quantities=(
        Quantity(
            "active_units", "dimensions of the top layer whose means vary over images by more than 0.01"
        ),
    ),
    measure=measure,
    needs_width=False,
)
