"""Latent metrics: measurements of the aggregate posterior over held-out images. Imports without torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vaepipe.storage.quantity import Quantity

if TYPE_CHECKING:
    from torch import Tensor

    from vaepipe.metrics.estimate import Estimate


@dataclass(frozen=True)
class Posteriors:
    """The posteriors of a model's top layer over N held-out images, for `LatentMetric.measure`.

    Attributes:
        mean, log_std: (N, D).
        sample: (N, D), one draw from each posterior.
        factors: (N, F) integer classes of the known generating factors, or None.
        seed: the model's seed, for metrics that draw.
        samples: how many of the draws a Monte-Carlo mean over q(z) takes.
    """

    mean: Tensor
    log_std: Tensor
    sample: Tensor
    factors: Tensor | None
    seed: int
    samples: int


@dataclass(frozen=True)
class LatentMetric:
    """A measurement of the latent space, which may give several numbers.

    ``vaepipe/metrics/latent/<name>.py`` holds one as ``METRIC``.

    Attributes:
        quantities: What is measured, in the order of the columns of the table models.
        measure: A function that takes the `Posteriors` of all held-out images and returns one
            `vaepipe.metrics.estimate.Estimate` for each quantity.
        needs_width: Whether the metric is NaN where a posterior has no width, such as an autoencoder's.
        needs_factors: Whether the metric is NaN where the generating factors are not known.
        dimension_quantities: What is measured of each latent dimension: columns of the table dimensions.
        measure_dimensions: A function that takes the `Posteriors` and returns a tensor (D,) for each.
    """

    quantities: tuple[Quantity, ...]
    measure: Callable[[Posteriors], tuple[Estimate, ...]]
    needs_width: bool = True
    needs_factors: bool = False
    dimension_quantities: tuple[Quantity, ...] = ()
    measure_dimensions: Callable[[Posteriors], tuple[Tensor, ...]] | None = None


def find_latent_metric(name: str) -> LatentMetric:
    """The metric of ``vaepipe/metrics/latent/<name>.py``."""
    return importlib.import_module(f"vaepipe.metrics.latent.{name.replace('-', '_')}").METRIC


def latent_quantities(names: Iterable[str]) -> tuple[Quantity, ...]:
    """All quantities of these latent metrics, in order."""
    return tuple(quantity for name in names for quantity in find_latent_metric(name).quantities)


def dimension_quantities(names: Iterable[str]) -> tuple[Quantity, ...]:
    """All quantities that these latent metrics measure of each latent dimension, in order."""
    return tuple(quantity for name in names for quantity in find_latent_metric(name).dimension_quantities)
