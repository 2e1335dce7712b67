"""The evaluation of a model: the terms of the ELBO per image, and metrics of the aggregate posterior."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from vaepipe.compute.randomness import seeded_generator
from vaepipe.datasets.scale import to_unit_interval
from vaepipe.metrics.activity import latent_state
from vaepipe.metrics.bound import importance_weighted
from vaepipe.metrics.generation import prior_samples, traversals
from vaepipe.metrics.latent_metric import Posteriors, find_latent_metric
from vaepipe.metrics.quantities import (
    FIRST_IMAGES,
    GENERATED,
    KL_LAYERS,
    STORED_PER_IMAGE,
    array_description,
    estimate_description,
)
from vaepipe.models.objectives import Terms, log_weights, terms

if TYPE_CHECKING:
    import numpy as np

    from vaepipe.models.interface import Model

BATCH = 1024


class Evaluation(NamedTuple):
    """``arrays``: name → (array, description); ``state``: of `vaepipe.metrics.activity.latent_state`."""

    arrays: dict[str, tuple[np.ndarray, str]]
    state: str


@torch.no_grad()
def evaluate_model(
    model: Model,
    x: Tensor,
    seed: int,
    latent_metrics: Iterable[str],
    *,
    factors: Tensor | None,
    keep: int,
    importance_samples: int,
    aggregate_samples: int,
) -> Evaluation:
    """All quantities of `vaepipe.metrics.quantities` and of the latent metrics.

    Args:
        x: (N, C, H, W) uint8 images in [0,255], or (N, D) float points.
        seed: of the posterior samples.
        latent_metrics: names of files in ``vaepipe/metrics/latent``.
        factors: (N, F) integer classes of the generating factors, where they are known.
        keep: number of first images whose posteriors and reconstructions are kept.
        importance_samples: samples per image of the importance-weighted bound.
        aggregate_samples: samples of q(z) in Monte-Carlo means over the aggregate posterior.
    """
    per_image = _per_image(model, x, seed, importance_samples)
    posteriors = Posteriors(
        per_image["mean"], per_image["log_std"], per_image["sample"], factors, seed, aggregate_samples
    )
    arrays = {q.name: (per_image[q.name], array_description(q)) for q in STORED_PER_IMAGE}
    of_first = per_image | {"x": x}
    arrays |= {q.name: (of_first[q.name][:keep], array_description(q)) for q in FIRST_IMAGES}
    arrays[KL_LAYERS.name] = (_mean_and_error(per_image[KL_LAYERS.name]), array_description(KL_LAYERS))
    arrays |= _latent(posteriors, latent_metrics)
    traversed, traversal = traversals(model, per_image["mean"], per_image["log_std"])
    drawn = (prior_samples(model, seed, x.device), traversed, traversal)
    arrays |= {q.name: (values, array_description(q)) for q, values in zip(GENERATED, drawn, strict=True)}
    state = latent_state(posteriors.mean, posteriors.log_std)
    return Evaluation({name: (values.cpu().numpy(), text) for name, (values, text) in arrays.items()}, state)


def _mean_and_error(values: Tensor) -> Tensor:
    """(2, L) mean and standard error over the rows of ``values`` (N, L)."""
    return torch.stack([values.mean(0), values.std(0) / math.sqrt(len(values))])


def _per_image(model: Model, x: Tensor, seed: int, importance_samples: int) -> dict[str, Tensor]:
    """By name, one row per image of ``x``."""
    parts: dict[str, list[Tensor]] = {}
    for start in range(0, len(x), BATCH):
        batch = to_unit_interval(x[start : start + BATCH])
        random = seeded_generator(x.device, "evaluate", seed, start)
        shape = (len(batch), sum(model.latent_sizes))
        batch_terms = terms(model, batch, torch.randn(shape, generator=random, device=x.device))
        noise = torch.randn(importance_samples, *shape, generator=random, device=x.device)
        for name, value in _of_batch(model, batch, batch_terms, noise).items():
            parts.setdefault(name, []).append(value)
    return {name: torch.cat(values) for name, values in parts.items()}


def _of_batch(model: Model, x: Tensor, batch_terms: Terms, noise: Tensor) -> dict[str, Tensor]:
    picture, top = model.decode(*batch_terms.samples).mean, batch_terms.posteriors[-1]
    # one sample of all images at a time, so that memory does not grow with the number of samples
    weights = torch.stack([log_weights(model, x, eps) for eps in noise])
    return {
        "log_likelihood": batch_terms.log_likelihood,
        "kl": batch_terms.kl,
        "bound": importance_weighted(weights),
        "reconstruction_error": (x - picture).flatten(1).norm(dim=1),
        "kl_layers": torch.stack([kl.sum(1) for kl in batch_terms.kl_terms], 1),
        "sigma_norm": top.log_std.exp().norm(dim=1),
        "mean_norm": top.mean.norm(dim=1),
        "mean": top.mean,
        "log_std": top.log_std,
        "sample": batch_terms.samples[-1],
        "reconstruction": picture,
    }


def _latent(posteriors: Posteriors, names: Iterable[str]) -> dict[str, tuple[Tensor, str]]:
    """name → ((2,) value and standard error, or (D,), description); NaN where a metric is not defined."""
    have_width = bool(posteriors.log_std.isfinite().all())
    measured: dict[str, tuple[Tensor, str]] = {}
    for metric in map(find_latent_metric, names):
        defined = (have_width or not metric.needs_width) and (
            posteriors.factors is not None or not metric.needs_factors
        )
        unknown = [(math.nan, math.nan)] * len(metric.quantities)
        estimates = metric.measure(posteriors) if defined else unknown
        for quantity, estimate in zip(metric.quantities, estimates, strict=True):
            measured[quantity.name] = (torch.tensor([*estimate]), estimate_description(quantity))
        if metric.measure_dimensions is not None:
            undefined = [torch.full((posteriors.mean.shape[1],), math.nan)] * len(metric.dimension_quantities)
            per_dimension = metric.measure_dimensions(posteriors) if defined else undefined
            for quantity, values in zip(metric.dimension_quantities, per_dimension, strict=True):
                measured[quantity.name] = (values, array_description(quantity))
    return measured
