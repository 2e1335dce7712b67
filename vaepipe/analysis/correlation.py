"""Rank correlation of robustness and disentanglement over models."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from vaepipe.analysis import trials
from vaepipe.analysis.intervals import Interval

FEWEST_MODELS = 5
"""Models below which the interval of a rank correlation says nothing."""


def rank_correlation(x: ArrayLike, y: ArrayLike) -> Interval:
    """Return Spearman's ρ of x and y, (n,), with its 95 % interval; NaN where it cannot be estimated.

    The interval is Fisher's, symmetric in artanh ρ, with the variance 1.06/(n − 3) of Fieller et al. 1957.
    """
    pairs = np.stack([np.asarray(x, float), np.asarray(y, float)])
    pairs = pairs[:, np.isfinite(pairs).all(0)]
    n = pairs.shape[1]
    if n < FEWEST_MODELS or np.ptp(pairs, axis=1).min() == 0:
        return Interval(np.nan, np.nan, np.nan)
    x_ranks, y_ranks = (pd.Series(values).rank() for values in pairs)  # importing scipy.stats takes longer
    rho = float(np.corrcoef(x_ranks, y_ranks)[0, 1])
    # artanh(±1) is infinite: a perfect order of n models counts as the highest correlation below it
    centre = np.arctanh(np.clip(rho, -1 + 1 / n**2, 1 - 1 / n**2))
    half = 1.959964 * np.sqrt(1.06 / (n - 3))
    return Interval(rho, float(np.tanh(centre - half)), float(np.tanh(centre + half)))


def robustness_and_disentanglement(attacks: pd.DataFrame, models: pd.DataFrame) -> pd.DataFrame:
    """Return one row per attacked model with a known MIG: columns of the cell, ``auddc``, ``flagged``,
    ``mig``.

    Args:
        attacks: the trials of one data set and loss.
        models: the table of models.
    """
    cell = [name for name in trials.PAIR if name not in ("loss", "pair")]
    flagged = attacks.assign(flagged=trials.is_flagged(attacks)).groupby(cell)["flagged"].any().reset_index()
    areas = trials.areas(attacks).groupby(cell)["auddc"].mean().reset_index().merge(flagged, on=cell)
    return areas.merge(models[[*cell, "mig"]], on=cell).dropna(subset=["mig", "auddc"])
