"""Intervals: against loops over rows, closed forms, and their coverage."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from vaepipe.analysis import intervals as stats
from vaepipe.analysis.intervals import clustered_interval, pooled_interval

T = {n: scipy_stats.t.ppf(0.975, n - 1) for n in range(2, 60)}


def crossed(rng, pairs=6, seeds=4, repeats=3, unbalanced=False, effects=(1, 1, 1)):
    """Rows of pairs × seeds with effects of both; some left out if not balanced."""
    pair, seed, _ = (a.ravel() for a in np.indices((pairs, seeds, repeats)))
    a, b, e = effects
    values = (
        a * rng.normal(size=pairs)[pair] + b * rng.normal(size=seeds)[seed] + e * rng.normal(size=len(pair))
    )
    kept = rng.random(len(pair)) < 0.5 if unbalanced else slice(None)
    return values[kept], {"pair": pair[kept], "seed": seed[kept]}


def repeated_rows(values, clusters, drawn):
    """The rows of one resample, each as often as its clusters were drawn."""
    times = np.prod([weight[ids] for weight, ids in zip(drawn, clusters.values())], axis=0)
    return np.repeat(values, times.astype(int), axis=0)


def combined(v, n, interaction):
    """Half width of two kinds of clusters, the larger first: between Banerjee's rule and Satterthwaite's."""
    banerjee = max(T[n[0]] ** 2 * v[0] + T[n[1]] ** 2 * max(0, v[1] - interaction), T[n[0]] ** 2 * max(v))
    freedom = (v[0] + v[1]) ** 2 / (v[0] ** 2 / (n[0] - 1) + v[1] ** 2 / (n[1] - 1))
    return np.sqrt((banerjee + scipy_stats.t.ppf(0.975, freedom) ** 2 * (v[0] + v[1])) / 2)


def by_hand(values, clusters, statistic, resamples, seed=0):
    """The interval by its definition: a loop over resamples of rows, without sums or tables."""
    sizes = [len(np.unique(ids)) for ids in clusters.values()]
    order = sorted(range(len(sizes)), key=lambda k: -sizes[k])
    weights = {k: stats._multiplicities(sizes[k], place, resamples, seed) for place, k in enumerate(order)}
    alone, joint = {k: [] for k in order}, []
    for b in range(resamples):
        for k in order:
            drawn = [weights[j][b] if j == k else np.ones(sizes[j]) for j in range(len(sizes))]
            alone[k].append(statistic(repeated_rows(values, clusters, drawn)))
        rows = repeated_rows(values, clusters, [weights[j][b] for j in range(len(sizes))])
        joint.append(statistic(rows) if len(rows) else np.nan)
    correction = {k: sizes[k] / (sizes[k] - 1) for k in order}
    v = {k: np.nanvar(alone[k]) * correction[k] for k in order}
    interaction = np.nanvar(joint - sum(np.array(alone[k]) for k in order)) * np.prod(
        list(correction.values())
    )
    if len(order) == 1:
        half = T[sizes[order[0]]] * np.sqrt(v[order[0]])
        return statistic(values) - half, statistic(values) + half
    half = combined([v[k] for k in order], [sizes[k] for k in order], interaction)
    return statistic(values) - half, statistic(values) + half


@pytest.mark.parametrize("unbalanced", [False, True])
@pytest.mark.parametrize("names", [("pair", "seed"), ("pair",)])
@pytest.mark.parametrize(("name", "function"), [("mean", np.mean), ("median", np.median)])
def test_is_the_loop_over_resampled_rows(unbalanced, names, name, function):
    values, clusters = crossed(np.random.default_rng(1), unbalanced=unbalanced)
    clusters = {name: clusters[name] for name in names}
    found = clustered_interval(values, clusters, name, resamples=150, seed=5)
    assert found.estimate == pytest.approx(function(values))
    assert found[1:] == pytest.approx(by_hand(values, clusters, function, 150, seed=5))


def test_closed_form_of_the_mean():
    """For a full crossing the parts are the mean squares of the two-way analysis of variance."""
    values, clusters = crossed(np.random.default_rng(2), pairs=12, seeds=5, repeats=1)
    table = values.reshape(12, 5)
    rows, columns = table.mean(1), table.mean(0)
    residual = table - rows[:, None] - columns + table.mean()
    v_pair, v_seed, v_cell = rows.var(ddof=1) / 12, columns.var(ddof=1) / 5, (residual**2).sum() / 44 / 60
    half = combined([v_pair, v_seed], [12, 5], v_cell)
    found = clustered_interval(values, clusters, resamples=40000)
    assert found == pytest.approx((table.mean(), table.mean() - half, table.mean() + half), abs=0.02 * half)


def test_one_kind_is_students_t():
    values = np.random.default_rng(3).normal(size=30)
    expected = scipy_stats.t.interval(0.95, 29, values.mean(), scipy_stats.sem(values))
    assert clustered_interval(values, [np.arange(30)], resamples=40000)[1:] == pytest.approx(
        expected, abs=0.01
    )


def test_three_kinds_of_clusters():
    rng = np.random.default_rng(2)
    clusters = {name: rng.integers(n, size=200) for name, n in (("a", 5), ("b", 4), ("c", 3))}
    values = rng.normal(size=200) + rng.normal(size=5)[clusters["a"]]
    found = clustered_interval(values, clusters, resamples=100)
    alone = [clustered_interval(values, {name: clusters[name]}, resamples=4000) for name in clusters]
    assert found.high - found.low > 0.9 * max(i.high - i.low for i in alone)


def test_paired_differences_and_ratios():
    rng = np.random.default_rng(4)
    values, clusters = crossed(rng, pairs=10, repeats=1)
    a, b = np.exp(values), np.exp(values + rng.normal(0.5, 0.1, len(values)))
    assert clustered_interval(a, clusters, against=b) == pytest.approx(clustered_interval(a - b, clusters))
    ratio = clustered_interval(a, clusters, against=b, compare="ratio")
    assert ratio.estimate == pytest.approx(a.mean() / b.mean())
    assert ratio.low * ratio.high == pytest.approx(ratio.estimate**2)
    log_low, log_high = by_hand(
        np.stack([a, b], 1), clusters, lambda rows: np.log(np.divide(*rows.mean(0))), 2000
    )
    assert ratio[1:] == pytest.approx(np.exp([log_low, log_high]))
    for name, function in (("geometric mean", np.mean), ("median", np.median)):
        found = clustered_interval(a, clusters, name, against=b, compare="ratio")
        assert found.estimate == pytest.approx(np.exp(function(np.log(a / b))), rel=1e-3)
        assert found.low < np.exp(-0.5) < found.high
    # the pairs' effects are in both models, and drop out
    assert ratio.high / ratio.low < 1.3 < 3 < np.divide(*clustered_interval(a, clusters, log=True)[:0:-1])


def test_geometric_mean():
    values, clusters = crossed(np.random.default_rng(5))
    found = clustered_interval(np.exp(values), clusters, "geometric mean")
    assert found == pytest.approx(np.exp(clustered_interval(values, clusters)))


def test_unknown_statistics_are_said():
    for arguments in (("mode",), ("mean", "quotient")):
        with pytest.raises(ValueError, match="known are mean, geometric mean, median; difference, ratio"):
            clustered_interval(
                [1.0, 2], [[0, 1]], arguments[0], against=[1, 1], compare=(*arguments, "ratio")[1]
            )
    with pytest.raises(ValueError, match="by their ratio"):
        clustered_interval([1.0, 2], [[0, 1]], "geometric mean", against=[1, 1])


def test_multiplicities_are_resamples():
    weight = stats._multiplicities(7, 0, 500, 0)
    assert weight.shape == (500, 7) and (weight.sum(1) == 7).all()
    assert weight.var() == pytest.approx(1 - 1 / 7, abs=0.1)  # of a multinomial
    assert (weight != stats._multiplicities(7, 1, 500, 0)).any()


def test_blocks_change_nothing(monkeypatch):
    values, clusters = crossed(np.random.default_rng(4))
    whole = [clustered_interval(values, clusters, name, resamples=500) for name in ("mean", "median")]
    monkeypatch.setattr(stats, "BLOCK", 60)
    stats._multiplicities.cache_clear()
    again = [clustered_interval(values, clusters, name, resamples=500) for name in ("mean", "median")]
    stats._multiplicities.cache_clear()
    assert np.array(again)[:, 0] == pytest.approx(np.array(whole)[:, 0])
    assert np.diff(np.array(again)[:, 1:]) == pytest.approx(
        np.diff(np.array(whole)[:, 1:]), rel=0.2
    )  # other draws


def test_many_rows_have_a_binned_median():
    rng = np.random.default_rng(6)
    values, clusters = crossed(rng, pairs=20, seeds=5, repeats=60)
    found = clustered_interval(values, clusters, "median", resamples=300)
    assert found.estimate == pytest.approx(np.median(values), abs=0.01)
    assert found[1:] == pytest.approx(by_hand(values, clusters, np.median, 300), abs=0.05)


def test_rows_of_one_cluster_add_nothing():
    """Ten copies of every row: the clustered interval stays, the pooled one shrinks by √10."""
    values = np.random.default_rng(6).normal(size=50)
    once, copies = np.arange(50), np.repeat(np.arange(50), 10)
    assert clustered_interval(np.repeat(values, 10), [copies]) == pytest.approx(
        clustered_interval(values, [once])
    )
    width = np.diff(pooled_interval(values)[1:]) / np.diff(pooled_interval(np.repeat(values, 10))[1:])
    assert width == pytest.approx(np.sqrt(10))


def test_pooled_is_the_bootstrap_of_rows():
    values = np.random.default_rng(7).lognormal(size=400)
    random = np.random.default_rng(8)
    means = [values[random.integers(400, size=400)].mean() for _ in range(20000)]
    found = pooled_interval(values)
    assert found.estimate == values.mean()
    assert found[1:] == pytest.approx(np.quantile(means, (0.025, 0.975)), abs=0.05 * np.std(means))
    assert found.high - found.estimate > 1.05 * (found.estimate - found.low)  # skewed, as the rows are
    assert np.isnan(pooled_interval([1.0]).low) and pooled_interval([2.0, 2.0]) == (2, 2, 2)
    assert pooled_interval([np.inf, 1.0]).estimate == np.inf


def test_order_of_rows_and_names_of_clusters_do_not_matter():
    rng = np.random.default_rng(8)
    values, clusters = crossed(rng, unbalanced=True)
    expected = clustered_interval(values, clusters)
    order = rng.permutation(len(values))
    text = {
        name: np.array([f"{name} {i:03d}" for i in ids], dtype=object)[order]
        for name, ids in clusters.items()
    }
    assert clustered_interval(values[order], text) == pytest.approx(expected)
    assert clustered_interval(values, list(clusters.values())) == expected


def test_deterministic_and_seeded():
    values, clusters = crossed(np.random.default_rng(9))
    assert clustered_interval(values, clusters) == clustered_interval(values, clusters)
    assert clustered_interval(values, clusters, seed=1) != clustered_interval(values, clusters)


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
    assert clustered_interval(holes, clusters) == clustered_interval(
        values[kept], {k: v[kept] for k, v in clusters.items()}
    )
    assert np.isnan(clustered_interval([np.nan, np.nan], [[0, 1]])).all()
    assert np.isnan(clustered_interval([], [[]])).all()
    against = np.where(kept, 0.0, np.nan)
    assert clustered_interval(values, clusters, against=against) == clustered_interval(holes, clusters)


def test_infinite_rows_stay():
    values = np.arange(60.0)
    values[4] = np.inf
    for name in ("mean", "geometric mean"):
        found = clustered_interval(values, [np.repeat(np.arange(20), 3)], name)
        assert not np.isfinite(found.estimate) and np.isnan(found[1:]).all()
    assert clustered_interval(values, [np.repeat(np.arange(20), 3)], "median").estimate == 30.5
    assert np.isnan(clustered_interval(-np.ones(4), [np.arange(4)], log=True)[1:]).all()


def test_level():
    values, clusters = crossed(np.random.default_rng(12), pairs=20, seeds=10)
    narrow, wide = (clustered_interval(values, clusters, level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.estimate < narrow.high < wide.high


@pytest.mark.parametrize("effects", [(1, 0.5, 1), (1, 1, 1), (0.5, 1, 1)])
def test_coverage(effects):
    """20 pairs crossed with 3 trainings, 5 rows each: 95 % covers 93 to 97 %, also of a paired ratio; pooled
    far less."""
    rng = np.random.default_rng(13)
    hits, n = np.zeros(3), 1000
    for _ in range(n):
        values, clusters = crossed(rng, 20, 3, 5, effects=effects)
        other, _ = crossed(rng, 20, 3, 5, effects=effects)
        ratio = clustered_interval(
            np.exp(values), clusters, "geometric mean", against=np.exp(other), compare="ratio", resamples=300
        )
        for i, (_, low, high) in enumerate(
            (clustered_interval(values, clusters, resamples=300), pooled_interval(values))
        ):
            hits[i] += low <= 0 <= high
        hits[2] += ratio.low <= 1 <= ratio.high
    clustered, pooled, paired = hits / n
    assert 0.93 <= clustered <= 0.97 and 0.93 <= paired <= 0.97
    assert pooled < 0.6
