"""Intervals for statistics of rows that share images, pairs or trainings.

The rows of a study are not independent: all trials of a pair share two images, all trials of a training share
a network.
The pairs and the trainings are independent, and these are resampled here. Rows are never resampled: they
enter as sums per cell of the crossing, and a resample is a weighting of these. docs/statistics.md derives the
interval and shows its coverage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtrit

BLOCK = 2**18
"""Numbers that a block of resamples has in memory at once: 2 MB, which stay in a cache of the processor."""
BINS = 1024
"""A bootstrapped median is as fine as this many quantiles of the rows; with fewer rows it is exact."""
STATISTICS = ("mean", "geometric mean", "median")


class Interval(NamedTuple):
    """A statistic and the ends of its interval. The ends are NaN where nothing could be resampled."""

    estimate: float
    low: float
    high: float


def clustered_interval(
    values: ArrayLike,
    clusters: Mapping[str, Sequence] | Sequence,
    statistic: str = "mean",
    *,
    against: ArrayLike | None = None,
    compare: str = "difference",
    log: bool = False,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return a statistic of rows that share clusters, such as pairs and trainings, with its interval.

    The interval is a bootstrap over crossed clusters that is right also for few of them. Each kind of cluster
    is resampled with replacement, alone and together with the others. A row counts as often as its clusters
    are drawn. The variances are corrected for the number of clusters and combined with Student's t, so three
    trainings give a wide interval. A kind with one member stays fixed: its variation is not in the interval.

    Args:
        values: Numbers (R,). Rows with NaN, here or in ``against``, are left out. An infinite number makes
            the estimate infinite or NaN.
        clusters: For each kind of cluster, ids (R,) of any sortable type: a mapping from names, or a list.
        statistic: ``mean``, ``geometric mean`` or ``median``. The interval of a geometric mean is symmetric
            in the logarithm.
        against: Numbers (R,) of another model in the same trials. The statistic is then that of the
            difference or ratio of the two. The ratio of means is the ratio of the two means, the others are
            the statistic of the rows' ratios.
        compare: ``difference`` or ``ratio``.
        log: Whether the interval of a mean or median is symmetric in the logarithm, for positive, skewed
            numbers such as losses.
        resamples: Number of bootstrap resamples. Those that hit no row do not count; this is possible if the
            crossing is not full.
        level: Coverage that the interval aims at.
        seed: Seed of the resamples. The same seed gives the same interval.

    Returns:
        The interval, in the unit of ``values``.

    Raises:
        ValueError: The statistic or the comparison is unknown.

    Source: Owen 2007, "The pigeonhole bootstrap"; Banerjee 1960 and Satterthwaite 1946 for sums of variances.
    """
    columns = np.atleast_2d(np.asarray(values, dtype=float))
    if against is not None:
        columns = np.stack([columns[0], np.asarray(against, dtype=float)])
    kept = ~np.isnan(columns).any(0)
    make = _statistic(statistic, against is not None, compare)
    if not kept.any():
        return Interval(np.nan, np.nan, np.nan)
    kinds = clusters.values() if isinstance(clusters, Mapping) else clusters
    ids, sizes = _numbered([np.asarray(kind)[kept] for kind in kinds])
    logarithmic = log or statistic == "geometric mean" or (against is not None and compare == "ratio")
    scale, back = (np.log, np.exp) if logarithmic else (_same, _same)
    with np.errstate(all="ignore"):  # inf - inf, logarithms of what is not positive: NaN, and no interval
        tables, value = make(columns[:, kept], ids, sizes)
        estimate = float(value(tables.reshape(len(tables), -1).sum(1)[None])[0])
        centre = scale(estimate)
        if not sizes or not np.isfinite(centre):
            return Interval(estimate, np.nan, np.nan)
        half = _half_width(lambda sums: scale(value(sums)), tables, resamples, level, seed)
        return Interval(estimate, float(back(centre - half)), float(back(centre + half)))


def _numbered(kinds: list[np.ndarray]) -> tuple[list[np.ndarray], list[int]]:
    """Return the kinds of clusters that have more than one member: ids (R,) from 0 on, and their numbers of
    members."""
    coded = [np.unique(kind, return_inverse=True) for kind in kinds]
    # the largest first, so that what is left after its matrix product is small
    coded = sorted((pair for pair in coded if len(pair[0]) > 1), key=lambda pair: -len(pair[0]))
    return [inverse for _, inverse in coded], [len(members) for members, _ in coded]


def pooled_interval(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """Return the mean of the rows with the interval of a bootstrap that takes all rows for independent.

    The original paper pools its rows in this way; seaborn's ``lineplot`` draws it. Where rows share pairs or
    trainings the interval is far too narrow; it serves to be compared with `clustered_interval`. In place of
    resamples it takes their limit: the normal quantiles with the correction for skewness (Hall 1992, The
    Bootstrap and Edgeworth Expansion, section 3.5).
    """
    rows = np.asarray(values, dtype=float)
    rows = rows[~np.isnan(rows)]
    mean = float(np.mean(rows)) if len(rows) else np.nan
    if len(rows) < 2 or not np.isfinite(mean):
        return Interval(mean, np.nan, np.nan)
    deviation = rows - mean
    error = np.sqrt(np.mean(deviation**2) / len(rows))
    skew = 0.0
    if error > 0:
        skew = np.mean(deviation**3) / np.mean(deviation**2) ** 1.5 / np.sqrt(len(rows))
    z = ndtri(0.5 + level / 2)
    shift = skew * (z**2 - 1) / 6
    return Interval(mean, float(mean + error * (shift - z)), float(mean + error * (shift + z)))


# --- statistics as functions of sums over cells of the crossing -------------------------------------


def _statistic(name: str, paired: bool, compare: str) -> Callable:
    """Return the function (columns (1 or 2, R), ids by kind, sizes) → tables (Q, *sizes) of sums, map of sums
    to values.

    The map takes sums (b, Q) and returns values (b,).
    """
    if name not in STATISTICS or compare not in ("difference", "ratio"):
        raise ValueError(
            f"statistic {name!r} with {compare!r}: known are {', '.join(STATISTICS)}; difference, ratio"
        )
    ratio = paired and compare == "ratio"
    if name == "geometric mean" and paired and not ratio:
        raise ValueError(
            "statistic 'geometric mean' with 'difference': compare geometric means by their ratio"
        )

    def join(columns: np.ndarray) -> np.ndarray:
        if not paired:
            return columns[0]
        return columns[0] / columns[1] if ratio else columns[0] - columns[1]

    def mean(columns, ids, sizes):
        rows = columns if ratio else [join(columns), np.ones(columns.shape[1])]
        return np.stack([_sums(ids, sizes, row) for row in rows]), lambda sums: sums[:, 0] / sums[:, 1]

    def geometric(columns, ids, sizes):
        rows = [np.log(join(columns)), np.ones(columns.shape[1])]
        return np.stack([_sums(ids, sizes, row) for row in rows]), lambda sums: np.exp(
            sums[:, 0] / sums[:, 1]
        )

    def median(columns, ids, sizes):
        x = join(columns)
        bins = min(BINS, len(x))
        bin_ = np.empty(len(x), dtype=int)
        bin_[np.argsort(x, kind="stable")] = np.arange(len(x)) * bins // len(x)
        counts = np.bincount(bin_, minlength=bins)
        return _sums([bin_, *ids], [bins, *sizes], None), partial(
            _medians, np.bincount(bin_, x, bins) / counts
        )

    return {"mean": mean, "geometric mean": geometric, "median": median}[name]


def _sums(ids: list[np.ndarray], sizes: list[int], weight: np.ndarray | None) -> np.ndarray:
    if not ids and weight is not None:
        return np.array(weight.sum())
    return np.bincount(np.ravel_multi_index(ids, sizes), weight, int(np.prod(sizes))).reshape(sizes)


def _medians(middle: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Return the median (b,) of the values ``middle`` (G,), increasing, that count ``sums`` (b, G) times; NaN
    without any."""
    share = np.cumsum(sums, axis=1)
    half = share[:, -1:] / 2
    low, high = (np.minimum(below.sum(1), len(middle) - 1) for below in (share < half, share <= half))
    return np.where(half[:, 0] > 0, (middle[low] + middle[high]) / 2, np.nan)


def _same(x):
    return x


# --- resampling -------------------------------------------------------------------------------------


def _half_width(value: Callable, tables: np.ndarray, resamples: int, level: float, seed: int) -> float:
    """Return half the length of the interval, from the variances V_k of resampling kind k alone.

    The mean, in the square, of two rules for a sum of variances with few degrees of freedom each: Banerjee's,
    every V_k with its own Student's t, which errs to the long side, and Satterthwaite's, one t for the sum,
    which errs to the short side.
    """
    sizes = np.array(tables.shape[1:])
    alone, joint = _resampled(value, tables, resamples, seed)
    corrections = sizes / (sizes - 1)  # a resample of n varies less than a sample by (n - 1)/n
    v = np.array([_variance(kind) for kind in alone]) * corrections
    t = stdtrit(sizes - 1, 0.5 + level / 2)
    if len(sizes) == 1:
        return float(t[0] * np.sqrt(v[0]))
    # resampling all kinds at once adds the noise of the cells; every V_k holds it, Banerjee's sum must hold
    # it once
    cells = _variance(joint - alone.sum(0)) * corrections.prod()
    banerjee = t[0] ** 2 * v[0] + (t[1:] ** 2 * np.maximum(v[1:] - cells, 0)).sum()
    banerjee = max(banerjee, t[0] ** 2 * v.max())
    freedom = v.sum() ** 2 / (v**2 / (sizes - 1)).sum() if v.any() else 1.0
    satterthwaite = stdtrit(freedom, 0.5 + level / 2) ** 2 * v.sum()
    return float(np.sqrt((banerjee + satterthwaite) / 2))


def _resampled(
    value: Callable, tables: np.ndarray, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (K, resamples) values with kind k resampled alone, (resamples,) with all kinds at once; NaN
    where no row was hit."""
    sizes = tables.shape[1:]
    weights = [_multiplicities(n, k, resamples, seed) for k, n in enumerate(sizes)]
    axes = range(1, tables.ndim)
    marginal = [tables.sum(tuple(a for a in axes if a != k + 1)) for k in range(len(sizes))]  # Q, n_k
    block = max(1, BLOCK // max(sizes[0], tables.size // sizes[0]))
    alone, joint = [], []
    for start in range(0, resamples, block):
        w = [weight[start : start + block].astype(float) for weight in weights]
        alone.append([value(w_k @ table.T) for w_k, table in zip(w, marginal)])
        if len(sizes) > 1:
            sums = np.tensordot(w[0], tables, axes=(1, 1))  # b, Q, the other kinds
            for w_k in w[1:]:
                sums = np.einsum("bqn...,bn->bq...", sums, w_k)
            joint.append(value(sums))
    return np.concatenate(alone, axis=1), np.concatenate(joint) if joint else np.empty(0)


def _variance(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.var()) if len(finite) > 1 else np.nan


@lru_cache(maxsize=16)
def _multiplicities(n: int, kind: int, resamples: int, seed: int) -> np.ndarray:
    """Return (resamples, n) how often each of n clusters is drawn; rows sum to n."""
    random = np.random.default_rng([seed, kind])
    counts = np.empty((resamples, n), dtype=np.uint8)
    block = max(1, BLOCK // n)
    for start in range(0, resamples, block):
        b = min(block, resamples - start)
        drawn = random.integers(n, size=(b, n)) + n * np.arange(b)[:, None]
        counts[start : start + b] = np.bincount(drawn.ravel(), minlength=b * n).reshape(b, n)
    return counts
