"""Intervals: against loops, closed forms, and their coverage."""

import time

import numpy as np
import pytest

from vaepipe import stats
from vaepipe.stats import clustered_interval, pooled_interval


def crossed(rng, pairs=6, seeds=4, repeats=3, unbalanced=False):
    """Rows of pairs × seeds with effects of both; some left out if not balanced."""
    pair, seed, _ = (a.ravel() for a in np.indices((pairs, seeds, repeats)))
    values = rng.normal(size=pairs)[pair] + rng.normal(size=seeds)[seed] + rng.normal(size=len(pair))
    kept = rng.random(len(pair)) < 0.5 if unbalanced else slice(None)
    return values[kept], {"pair": pair[kept], "seed": seed[kept]}


def loop(values, clusters, weights):
    """Weighted means by the definition, a loop over resamples and rows."""
    ids = [np.unique(kind, return_inverse=True)[1] for kind in clusters.values()]
    means = []
    for b in range(len(weights[0])):
        w = np.prod([weight[b][i] for weight, i in zip(weights, ids)], axis=0)
        if w.sum():
            means.append((w * values)[w > 0].sum() / w.sum())
    return np.sort(means)


@pytest.mark.parametrize("unbalanced", [False, True])
@pytest.mark.parametrize("names", [("pair", "seed"), ("pair",)])
def test_is_the_loop_over_resamples(unbalanced, names):
    values, clusters = crossed(np.random.default_rng(1), unbalanced=unbalanced)
    clusters = {name: clusters[name] for name in names}
    sizes = [len(np.unique(kind)) for kind in clusters.values()]
    (weights,) = stats._multiplicities(sizes, 300, seed=5)
    means = loop(values, clusters, weights)
    found = clustered_interval(values, clusters, resamples=300, seed=5)
    assert found.estimate == pytest.approx(values.mean())
    low, high = np.quantile(means, 0.025, method="lower"), np.quantile(means, 0.975, method="higher")
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_resamples_without_a_row_do_not_count():
    values, clusters = np.array([1.0, 2.0, 4.0]), {"pair": np.arange(3), "seed": np.arange(3)}
    (weights,) = stats._multiplicities([3, 3], 200, seed=0)
    means = loop(values, clusters, weights)
    assert len(means) < 195
    found = clustered_interval(values, clusters, resamples=200)
    assert found[1:] == (np.quantile(means, 0.025, method="lower"), np.quantile(means, 0.975, method="higher"))


def test_three_kinds_of_clusters():
    rng = np.random.default_rng(2)
    clusters = {name: rng.integers(n, size=200) for name, n in (("a", 5), ("b", 4), ("c", 3))}
    values = rng.normal(size=200)
    (weights,) = stats._multiplicities([5, 4, 3], 100, seed=0)
    means = loop(values, clusters, weights)
    found = clustered_interval(values, clusters, resamples=100)
    assert (found.low, found.high) == (pytest.approx(means[2]), pytest.approx(means[97]))


def test_agrees_with_gathering_resampled_rows():
    """An implementation that shares nothing: draw pairs and seeds, gather their rows, take the mean."""
    rng = np.random.default_rng(3)
    values, clusters = crossed(rng, pairs=12, seeds=8, repeats=1)
    table = values.reshape(12, 8)
    means = [table[rng.integers(12, size=12)][:, rng.integers(8, size=8)].mean() for _ in range(20000)]
    found = clustered_interval(values, clusters, resamples=20000)
    error = 0.1 * np.std(means)  # the difference of two such quantiles has a standard error of 0.027 standard deviations
    assert np.quantile(means, (0.025, 0.975)) == pytest.approx(found[1:], abs=error)


def test_multiplicities_are_resamples():
    blocks = list(stats._multiplicities([7, 3], 50, seed=0))
    for n, weight in zip((7, 3), (np.concatenate(parts) for parts in zip(*blocks))):
        assert weight.shape == (50, n) and (weight.sum(1) == n).all() and weight.std() > 0


def test_blocks_change_nothing(monkeypatch):
    values, clusters = crossed(np.random.default_rng(4))
    whole = clustered_interval(values, clusters, resamples=500)
    monkeypatch.setattr(stats, "BLOCK", 60)
    assert clustered_interval(values, clusters, resamples=500) == pytest.approx(whole)


def test_standard_error_of_a_mean():
    n = 400
    values = np.random.default_rng(5).normal(size=n)
    _, low, high = clustered_interval(values, [np.arange(n)], resamples=4000)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(n), rel=0.05)


def test_rows_of_one_cluster_add_nothing():
    """Ten copies of every row: the clustered interval stays, the pooled one shrinks by √10."""
    values = np.random.default_rng(6).normal(size=50)
    once, copies = np.arange(50), np.repeat(np.arange(50), 10)
    assert clustered_interval(np.repeat(values, 10), [copies]) == pytest.approx(clustered_interval(values, [once]))
    width = np.diff(pooled_interval(values)[1:]) / np.diff(pooled_interval(np.repeat(values, 10))[1:])
    assert width == pytest.approx(np.sqrt(10), rel=0.1)


def test_pooled_is_the_bootstrap_of_rows():
    values = np.random.default_rng(7).normal(3, 2, size=500)
    found = pooled_interval(values)
    assert found.estimate == values.mean()
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(500), rel=0.06)
    assert np.isnan(pooled_interval([1.0]).low)


def test_order_of_rows_and_names_of_clusters_do_not_matter():
    rng = np.random.default_rng(8)
    values, clusters = crossed(rng, unbalanced=True)
    expected = clustered_interval(values, clusters)
    order = rng.permutation(len(values))
    text = {name: np.array([f"{name} {i:03d}" for i in ids], dtype=object)[order] for name, ids in clusters.items()}
    assert clustered_interval(values[order], text) == pytest.approx(expected)
    assert clustered_interval(values, list(clusters.values())) == expected


def test_deterministic_and_seeded():
    values, clusters = crossed(np.random.default_rng(9))
    assert clustered_interval(values, clusters) == clustered_interval(values, clusters)
    assert clustered_interval(values, clusters, seed=1) != clustered_interval(values, clusters)
    assert pooled_interval(values) == pooled_interval(values)


def test_one_cluster_is_held_fixed():
    values, clusters = crossed(np.random.default_rng(10), seeds=1)
    assert clustered_interval(values, clusters) == clustered_interval(values, {"pair": clusters["pair"]})
    alone = clustered_interval(values, {"pair": np.zeros(len(values)), "seed": np.zeros(len(values))})
    assert alone.estimate == pytest.approx(values.mean()) and np.isnan(alone[1:]).all()


def test_nan_rows_are_left_out():
    values, clusters = crossed(np.random.default_rng(11), unbalanced=True)
    holes = values.copy()
    holes[[0, 5]] = np.nan
    holes[clusters["pair"] == 2] = np.nan  # a whole cluster
    kept = ~np.isnan(holes)
    assert clustered_interval(holes, clusters) == clustered_interval(values[kept], {k: v[kept] for k, v in clusters.items()})
    assert np.isnan(clustered_interval([np.nan, np.nan], [[0, 1]])).all()
    assert np.isnan(clustered_interval([], [[]])).all()


def test_infinite_rows_stay():
    pair = np.repeat(np.arange(20), 3)
    values = np.arange(60.0)
    values[4] = np.inf
    found = clustered_interval(values, [pair])
    # pair 1 is missing from about a third of the resamples
    assert found.estimate == np.inf and np.isfinite(found.low) and found.high == np.inf
    values[5] = -np.inf
    assert np.isnan(clustered_interval(values, [pair]).estimate)


def test_level():
    values, clusters = crossed(np.random.default_rng(12), pairs=20, seeds=10)
    narrow, wide = (clustered_interval(values, clusters, level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.estimate < narrow.high < wide.high


def test_coverage():
    """Rows share pairs and trainings: the clustered interval covers what it says, the pooled one far less."""
    rng = np.random.default_rng(13)
    hits = np.zeros(2)
    for _ in range(200):
        values, clusters = crossed(rng, pairs=20, seeds=15, repeats=2)
        for i, (_, low, high) in enumerate(
            (clustered_interval(values, clusters, resamples=400), pooled_interval(values, resamples=200))
        ):
            hits[i] += low <= 0 <= high
    clustered, pooled = hits / 200
    assert 0.9 <= clustered <= 0.99
    assert pooled < 0.5


def test_speed():
    """All trials of a data set of the paper's size: 20 pairs × 50 λ × 6 d_z × 54 models."""
    rng = np.random.default_rng(14)
    values = rng.lognormal(size=324_000)
    clusters = {"pair": rng.integers(20, size=324_000), "seed": rng.integers(9, size=324_000)}
    begun = time.process_time()
    clustered_interval(values, clusters)
    assert time.process_time() - begun < 3
