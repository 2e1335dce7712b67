"""Intervals for means of rows that share images, pairs or trainings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

BLOCK = 2**22
"""Multiplicities that are in memory at once."""


class Interval(NamedTuple):
    """A mean and the ends of its interval; NaN where nothing could be resampled."""

    estimate: float
    low: float
    high: float


def clustered_interval(
    values, clusters: Mapping[str, Sequence] | Sequence, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Mean of the rows, with a percentile interval from a bootstrap over crossed clusters.

    Every kind of cluster is resampled with replacement, independently of the others; a row counts as often as the product
    of its clusters' multiplicities. Rows of one pair, or of one training, therefore come and go together, which a bootstrap
    of the rows would miss. A kind of cluster with one member stays fixed: its variation is not in the interval.
    With fewer than about ten members of a kind the interval is too narrow, as percentile intervals are.

    Args:
        values: (R,) NaN rows are left out; infinite ones are kept, and make the mean infinite.
        clusters: by kind (any names), (R,) ids of any sortable type.
        resamples: number of bootstrap resamples; those that hit no row (possible if the crossing is not full) do not count.
        level: coverage that the interval aims at.
        seed: the same seed gives the same interval.

    Returns:
        The interval, in the unit of ``values``; ends are resampled means, without interpolation.

    Source: Owen 2007, "The pigeonhole bootstrap" (for two kinds of clusters).
    """
    values = np.asarray(values, dtype=float)
    kinds = list(clusters.values() if isinstance(clusters, Mapping) else clusters)
    kept = ~np.isnan(values)
    values = values[kept]
    coded = [np.unique(np.asarray(kind)[kept], return_inverse=True) for kind in kinds]
    # the largest first, so that what is left after its matrix product is small
    coded = sorted((pair for pair in coded if len(pair[0]) > 1), key=lambda pair: -len(pair[0]))
    if not coded:
        return Interval(_mean(values), np.nan, np.nan)
    tables = _tables(values, [inverse for _, inverse in coded], [len(names) for names, _ in coded])
    means = np.concatenate([_means(tables, weights) for weights in _multiplicities(tables.shape[1:], resamples, seed)])
    return Interval(_mean(values), *_ends(means, level))


def pooled_interval(values, *, resamples: int = 2000, level: float = 0.95, seed: int = 0) -> Interval:
    """Mean of the rows, with the ordinary bootstrap that takes all rows for independent.

    It is what seaborn's ``lineplot`` draws. Where rows share pairs or trainings it is far too narrow; it is here to be
    compared with `clustered_interval`, whose arguments it shares.
    """
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    if len(values) < 2:
        return Interval(_mean(values), np.nan, np.nan)
    random = np.random.default_rng(seed)
    means = np.array([_mean(values[random.integers(len(values), size=len(values))]) for _ in range(resamples)])
    return Interval(_mean(values), *_ends(means, level))


def _mean(values: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):  # inf - inf
        return float(np.mean(values)) if len(values) else np.nan


def _tables(values: np.ndarray, ids: list[np.ndarray], shape: list[int]) -> np.ndarray:
    """(4, *shape): per cell of the crossing the sum of the finite rows, the count of all, of +inf and of -inf."""
    cell = np.ravel_multi_index(ids, shape)
    finite = np.isfinite(values)
    weights = [np.where(finite, values, 0.0), np.ones(len(values)), values == np.inf, values == -np.inf]
    return np.stack([np.bincount(cell, weight, np.prod(shape)).reshape(shape) for weight in weights])


def _multiplicities(shape: Sequence[int], resamples: int, seed: int) -> Iterator[list[np.ndarray]]:
    """Blocks of resamples; each is, per kind of cluster with n members, (b, n) counts whose rows sum to n."""
    randoms = [np.random.default_rng([seed, kind]) for kind in range(len(shape))]
    block = max(1, BLOCK // max(shape))
    for start in range(0, resamples, block):
        b = min(block, resamples - start)
        rows = np.arange(b)[:, None]
        yield [
            np.bincount((random.integers(n, size=(b, n)) + n * rows).ravel(), minlength=b * n).reshape(b, n).astype(float)
            for random, n in zip(randoms, shape)
        ]


def _means(tables: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    """(b,) weighted means, of the resamples that hit a row at all."""
    sums = np.tensordot(weights[0], tables, axes=(1, 1))  # b, 4, the other kinds
    for weight in weights[1:]:
        sums = np.einsum("bqn...,bn->bq...", sums, weight)
    total, count, up, down = sums[sums[:, 1] > 0].T
    with np.errstate(invalid="ignore"):  # inf - inf
        return total / count + np.where(up > 0, np.inf, 0) - np.where(down > 0, np.inf, 0)


def _ends(means: np.ndarray, level: float) -> tuple[float, float]:
    if not len(means):
        return np.nan, np.nan
    means = np.sort(means)
    outside = int((1 - level) / 2 * (len(means) - 1))  # rounded down: outwards
    return float(means[outside]), float(means[len(means) - 1 - outside])
