"""Means against β: a number of every row, averaged for each model family and β, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from vaepipe.analysis.intervals import Interval, clustered_interval

Means = dict[tuple[str, float], Interval]
"""(family, β) → mean with its interval."""
TRIAL_AXES = {"pair": "pairs", "lam": "λ", "d_z": "d_z", "seed": "seeds"}
"""Column → plural of what the trials of one (family, β) are averaged over."""
TRIAL_CLUSTERS = {"pair": "pairs", "seed": "training seeds"}
"""Column → plural of what is independent among the trials, and is resampled."""


@dataclass(frozen=True)
class Measure:
    """A number of every row that is averaged for each (family, β).

    Attributes:
        column: of the table.
        label: text for an axis.
        over: column that divides it, as a ratio of means.
        log: its interval is symmetric in the logarithm, and its axis logarithmic where a value is positive.
        rows: plural of what a row is.
        averaged: column → plural of what is averaged over.
        clusters: column → plural of what is resampled.
    """

    column: str
    label: str
    over: str | None = None
    log: bool = False
    rows: str = "trials"
    averaged: Mapping[str, str] = field(default_factory=lambda: TRIAL_AXES)
    clusters: Mapping[str, str] = field(default_factory=lambda: TRIAL_CLUSTERS)

    def interval(self, rows: pd.DataFrame, resamples: int) -> Interval:
        """Return the mean over ``rows`` with its clustered 95 % interval."""
        ids = {name: rows[name] for name in self.clusters}
        if self.over is None:
            return clustered_interval(rows[self.column], ids, resamples=resamples, log=self.log)
        divisor = rows[self.over]
        return clustered_interval(
            rows[self.column], ids, against=divisor, compare="ratio", resamples=resamples, log=self.log
        )

    def means(self, frame: pd.DataFrame, resamples: int) -> Means:
        """Return the mean of each (family, β) of the table."""
        return {key: self.interval(rows, resamples) for key, rows in frame.groupby(["family", "beta"])}


def pair_and_seed_interval(rows: pd.DataFrame, column: str, resamples: int) -> Interval:
    """Return the mean of a column of trials, its interval over pairs and training seeds."""
    return clustered_interval(rows[column], [rows["pair"], rows["seed"]], resamples=resamples)
