"""What figures and claims read from trials, the rows (λ, pair) of the table of attacks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from vaepipe.analysis import robustness
from vaepipe.analysis.intervals import Interval, clustered_interval

PAIR = ["dataset", "loss", "family", "beta", "d_z", "seed", "pair"]
"""Columns that name one attacked pair of one model."""


def of_losses(attacks: pd.DataFrame, kept: Callable[[str], bool]) -> pd.DataFrame:
    """Return the trials of the losses that are kept, for example those that have a target."""
    losses = [loss for loss in attacks["loss"].unique() if kept(loss)]
    return attacks[attacks["loss"].isin(losses)]


def is_flagged(rows: pd.DataFrame) -> pd.Series:
    """Return for each row whether checks found its attack too weak: column ``masked`` is not empty."""
    if "masked" not in rows:
        return pd.Series(False, index=rows.index)
    return rows["masked"].notna() & rows["masked"].ne("")


def relative(attacks: pd.DataFrame) -> pd.DataFrame:
    """Return the trials with ``h`` = ‖d‖₂ / ‖x − x_t‖₂ and ``v`` = (A − T)/(O − T), NaN where O ≤ T."""
    v = robustness.ratio(
        attacks["adversarial_distance"], attacks["target_distance"], attacks["original_distance"]
    )
    return attacks.assign(h=attacks["norm"].astype(float) / attacks["input_distance"].astype(float), v=v)


def areas(attacks: pd.DataFrame) -> pd.DataFrame:
    """Return one row per attacked pair of a model: ``auddc``, and ``fooling_norm``, the least ‖d‖₂ that
    fooled it.

    ``fooling_norm`` is infinite where nothing fooled the pair. A pair without a curve (O ≤ T) has NaN in
    both.
    """
    pairs, h, v, norm = _curves(relative(attacks))
    least = np.where(v < robustness.SUCCESS, norm, np.inf).min(1, initial=np.inf)
    return pairs.assign(
        auddc=robustness.auddc(h, v), fooling_norm=np.where(np.isnan(v).all(1), np.nan, least)
    )


def mean_curve(trials: pd.DataFrame, grid: np.ndarray) -> pd.DataFrame:
    """Return every pair's curve at the same distortions: one row per pair and point of ``grid``, columns
    ``h`` and ``v``.

    A curve is closed as in `robustness.auddc`: linear between its points, at its least value from the largest
    h on. Below its smallest h it has no value.
    """
    pairs, h, v, _ = _curves(trials)
    kept = (h <= 1) & np.isfinite(v)
    some = kept.any(1)
    values = [_at(grid, *curve) for curve in zip(h[some], v[some], kept[some])]
    frame = pairs[some].reset_index(drop=True)
    frame = frame.loc[frame.index.repeat(len(grid))].reset_index(drop=True)
    return frame.assign(h=np.tile(grid, len(values)), v=np.concatenate(values) if values else [])


def _at(grid: np.ndarray, h: np.ndarray, v: np.ndarray, kept: np.ndarray) -> np.ndarray:
    order = np.argsort(h[kept], kind="stable")
    h, v = h[kept][order], v[kept][order]
    return np.interp(grid, h, v, left=np.nan, right=v.min())


def change(both: pd.DataFrame, resamples: int, statistic: str = "mean") -> tuple[Interval, float]:
    """Return the change of the objective from column ``objective_1`` to ``objective``, and its value at no
    change.

    The change is a ratio (no change: 1); where a mean is not positive it is a difference (no change: 0). The
    ``statistic`` is the ratio of the means, or the median of the trials' ratios.
    """
    ratio = both["objective"].mean() > 0 and both["objective_1"].mean() > 0
    options = {
        "against": both["objective_1"],
        "compare": "ratio" if ratio else "difference",
        "resamples": resamples,
    }
    ids = [both["pair"], both["seed"]]
    return clustered_interval(both["objective"], ids, statistic, **options), float(ratio)


def best_lambda(distance: np.ndarray) -> int:
    """Return the row of the λ to show: among those with A at most its mean over λ, that of the largest A.

    It is the weakest attack that still counts as a success: a small distortion, and a reconstruction nearer
    to the target than usual. Of equal ones it is the first.

    Args:
        distance: (L,) A = ‖rec(x + d) − x_t‖, λ increasing; NaN is chosen only if all are NaN.

    Source: ``bestC`` in the code of Gondim-Ribeiro et al. 2018.
    """
    distance = np.where(np.isfinite(distance), distance, np.nan)
    if np.isnan(distance).all():
        return 0
    mean = np.nanmean(distance)
    within = distance <= mean + 1e-9 * abs(mean)  # a mean of equal numbers may round to less than they are
    return int(np.argmax(np.where(within, distance, -np.inf)))


def _curves(trials: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """Return the attacked pairs of models, columns `PAIR`, and h, v, ‖d‖₂ of their trials, (N, L)."""
    numbers = trials.groupby(PAIR, sort=False).ngroup().to_numpy()
    _, first = np.unique(numbers, return_index=True)
    pairs = trials[PAIR].iloc[first].reset_index(drop=True)
    return pairs, *robustness.by_pair(numbers, *(trials[name] for name in ("h", "v", "norm")))
