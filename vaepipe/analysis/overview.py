"""All models and attacks in one table: how good a model is, how easy to fool, whether to believe it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

LEVEL = 0.95
KEYS = ["dataset", "family", "beta", "d_z", "seed"]


def overview(models: pd.DataFrame, robustness: pd.DataFrame) -> pd.DataFrame:
    """Return a row per model and attack; columns with ``_low`` and ``_high`` have a 95 % interval.

    The interval of ``elbo`` (nats) is over held-out images, normal; that of ``auddc`` over pairs, Student's
    t; that of ``success``, the share of pairs fooled within half of the distance to the target, Wilson's. No
    interval holds the variation between trainings. ``weak`` says why checks call an attack too weak.

    Args:
        models: the table models.
        robustness: the table robustness.
    """
    final = [frame[frame["snapshot"] == 0] for frame in (models, robustness)]
    rows = final[1].merge(final[0], on=KEYS, suffixes=("", "_model")).reset_index(drop=True)
    table = rows[["dataset", "loss", *KEYS[1:]]].copy()
    _add(table, "elbo", rows["elbo"], stats.norm.ppf(0.5 + LEVEL / 2) * rows["elbo_se"])
    pairs = rows["auddc_pairs"].where(rows["auddc_pairs"] > 1)
    half = stats.t.ppf(0.5 + LEVEL / 2, pairs - 1) * rows["auddc_sd"] / np.sqrt(pairs)
    _add(table, "auddc", rows["auddc"], half)
    shares = [_wilson(share, n) for share, n in zip(rows["success_50"], rows["pairs"])]
    table["success"] = rows["success_50"]
    table[["success_low", "success_high"]] = np.array(shares).reshape(-1, 2)
    return table.assign(weak=rows["masked"].fillna(""))


def _add(table: pd.DataFrame, name: str, values: pd.Series, half: pd.Series) -> None:
    table[name], table[f"{name}_low"], table[f"{name}_high"] = values, values - half, values + half


def _wilson(share: float, n: int) -> tuple[float, float]:
    if np.isnan(share):
        return np.nan, np.nan
    interval = stats.binomtest(round(share * n), n).proportion_ci(LEVEL, "wilson")
    return interval.low, interval.high
