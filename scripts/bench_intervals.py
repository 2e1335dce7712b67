"""How long intervals of a full study take, and how often they hold the truth.

python scripts/bench_intervals.py [--coverage REPETITIONS]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from vaepipe.analysis.intervals import clustered_interval, pooled_interval

ROWS = 324_000  # 20 pairs × 50 λ × 6 d_z × 6 β × 9 of data set, loss and training seed
EFFECTS = ((1, 0.1, 1), (1, 0.3, 0.5), (1, 0.5, 1), (1, 1, 1), (0.5, 1, 1), (1, 2, 0.5))


def times() -> None:
    """One interval over all rows of the study at once, each statistic."""
    rng = np.random.default_rng(0)
    clusters = {"pair": np.arange(ROWS) % 20, "seed": np.arange(ROWS) // 20 % 3}
    a, b = rng.lognormal(size=(2, ROWS))
    cases = {
        "mean": {},
        "geometric mean": {"statistic": "geometric mean"},
        "median": {"statistic": "median"},
        "ratio of two models' means": {"against": b, "compare": "ratio"},
    }
    for name, options in cases.items():
        begun = time.perf_counter()
        clustered_interval(a, clusters, resamples=2000, **options)
        print(f"{name:<28} {ROWS:,} rows × 2,000 resamples: {time.perf_counter() - begun:.2f} s")


def coverage(repetitions: int) -> None:
    """Share of 95 % intervals that hold the truth, for 20 pairs crossed with 3 trainings and 5 rows each."""
    pair, seed, _ = (a.ravel() for a in np.indices((20, 3, 5)))
    clusters = {"pair": pair, "seed": seed}
    print()
    heads = "   mean  geometric  median  lognormal  heavy tail  pooled mean"
    print(f"standard deviations of pair, training, row {heads}")
    for p, s, e in EFFECTS:
        rng = np.random.default_rng(0)
        hits = np.zeros(6)
        for _ in range(repetitions):
            x = p * rng.normal(size=20)[pair] + s * rng.normal(size=3)[seed] + e * rng.normal(size=300)
            loss, heavy = np.exp(x / 2), np.exp(x)
            cases = [
                (clustered_interval(x, clusters), 0),
                (clustered_interval(loss, clusters, "geometric mean"), 1),
                (clustered_interval(x, clusters, "median"), 0),
                (clustered_interval(loss, clusters, log=True), np.exp((p**2 + s**2 + e**2) / 8)),
                (clustered_interval(heavy, clusters, log=True), np.exp((p**2 + s**2 + e**2) / 2)),
                (pooled_interval(x), 0),
            ]
            hits += [i.low <= truth <= i.high for i, truth in cases]
        shares = "".join(f"{100 * share:10.1f}" for share in hits / repetitions)
        print(f"{f'{p:g}, {s:g}, {e:g}':<42}{shares} %")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--coverage", type=int, default=0, metavar="REPETITIONS", help="simulate data sets and count"
    )
    args = parser.parse_args()
    times()
    if args.coverage:
        coverage(args.coverage)
