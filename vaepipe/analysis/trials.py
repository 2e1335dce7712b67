"""What figures and claims read from the trials of each attacked pair: its distortion-distortion curve."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vaepipe.analysis import robustness
from vaepipe.analysis.intervals import Interval, clustered_interval

PAIR = ["dataset", "loss", "family", "beta", "d_z", "seed", "pair"]

UNTARGETED = ("max-damage",)
"""Attacks without a target, as in `vaepipe.attacks.losses`, which would cost torch to import."""


def targeted(attacks: pd.DataFrame) -> pd.DataFrame:
    """The trials that have a target to come near to."""
    return attacks[~attacks["loss"].isin(UNTARGETED)]


def relative(attacks: pd.DataFrame) -> pd.DataFrame:
    """The trials with ``h`` = ‖d‖₂ / ‖x − x_t‖₂ and ``v`` = (A − T)/(O − T); ``v`` is NaN where O ≤ T."""
    v = robustness.ratio(attacks["adversarial_distance"], attacks["target_distance"], attacks["original_distance"])
    return attacks.assign(h=attacks["norm"].astype(float) / attacks["input_distance"].astype(float), v=v)


def areas(attacks: pd.DataFrame) -> pd.DataFrame:
    """One row per attacked pair of a model: ``auddc``, and ``fooling_norm``, the smallest ‖d‖₂ that fooled it (∞: none).

    A pair without a curve (O ≤ T at this model) has NaN in both.
    """
    pairs, h, v, norm = _curves(relative(attacks))
    least = np.where(v < robustness.SUCCESS, norm, np.inf).min(1, initial=np.inf)
    return pairs.assign(auddc=robustness.auddc(h, v), fooling_norm=np.where(np.isnan(v).all(1), np.nan, least))


def mean_curve(trials: pd.DataFrame, grid: np.ndarray) -> pd.DataFrame:
    """Every pair's curve at the same distortions: one row per pair and point of ``grid``, columns ``h`` and ``v``.

    A curve is as `robustness.auddc` closes it: linear between its points, at its least value from the largest h on; below its
    smallest h it has no value.
    """
    pairs, h, v, _ = _curves(trials)
    kept = (h <= 1) & np.isfinite(v)
    some = kept.any(1)
    values = [_at(grid, *its) for its in zip(h[some], v[some], kept[some])]
    frame = pairs[some].reset_index(drop=True)
    frame = frame.loc[frame.index.repeat(len(grid))].reset_index(drop=True)
    return frame.assign(h=np.tile(grid, len(values)), v=np.concatenate(values) if values else [])


def _at(grid: np.ndarray, h: np.ndarray, v: np.ndarray, kept: np.ndarray) -> np.ndarray:
    order = np.argsort(h[kept], kind="stable")
    h, v = h[kept][order], v[kept][order]
    return np.interp(grid, h, v, left=np.nan, right=v.min())


def change(both: pd.DataFrame, resamples: int) -> tuple[Interval, float]:
    """How the mean objective changes from column ``objective_1`` to ``objective``, trial by trial, and the value at no change:
    a ratio and 1; a difference and 0 where a loss is not positive."""
    ratio = both["objective"].mean() > 0 and both["objective_1"].mean() > 0
    options = {"against": both["objective_1"], "compare": "ratio" if ratio else "difference", "resamples": resamples}
    return clustered_interval(both["objective"], [both["pair"], both["seed"]], **options), float(ratio)


def _curves(trials: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """The attacked pairs of models, columns `PAIR`, and h, v, ‖d‖₂ of their trials, (N, L)."""
    numbers = trials.groupby(PAIR, sort=False).ngroup().to_numpy()
    _, first = np.unique(numbers, return_index=True)
    pairs = trials[PAIR].iloc[first].reset_index(drop=True)
    return pairs, *robustness.by_pair(numbers, *(trials[name] for name in ("h", "v", "norm")))
