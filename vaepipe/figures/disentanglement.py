"""Robustness against disentanglement: are models whose latents match the data's factors harder to fool?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from vaepipe.analysis import trials as pairs
from vaepipe.figures import curves, flags, style
from vaepipe.figures.registry import Data
from vaepipe.study.grid import Cell

LEAST = 5
"""Models below which a rank correlation's interval says nothing."""


class Correlation(NamedTuple):
    """Spearman's rank correlation and its 95 % interval; NaN where it cannot be estimated."""

    estimate: float
    low: float
    high: float


def rank_correlation(x, y) -> Correlation:
    """Of n models; the interval is Fisher's, symmetric in artanh ρ, with the variance 1.06/(n − 3) of Fieller et al. 1957."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    kept = np.isfinite(x) & np.isfinite(y)
    x, y = x[kept], y[kept]
    if len(x) < LEAST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Correlation(np.nan, np.nan, np.nan)
    rho = float(np.corrcoef(*(pd.Series(values).rank() for values in (x, y)))[0, 1])  # importing scipy.stats takes longer
    # the artanh of ±1 is infinite: a perfect order of n models is no more than the highest one below it
    centre = np.arctanh(np.clip(rho, -1 + 1 / len(x) ** 2, 1 - 1 / len(x) ** 2))
    half = 1.959964 * np.sqrt(1.06 / (len(x) - 3))
    return Correlation(rho, float(np.tanh(centre - half)), float(np.tanh(centre + half)))


def models(data: Data, attacks):
    """One row per attacked model with known MIG: its MIG and mean AUDDC."""
    cell = list(Cell.__dataclass_fields__)
    weak = attacks.assign(flagged=flags.weakness(attacks)).groupby(cell)["flagged"].any().reset_index()
    areas = pairs.areas(attacks).groupby(cell)["auddc"].mean().reset_index().merge(weak, on=cell)
    return areas.merge(data.models[[*cell, "mig"]], on=cell).dropna(subset=["mig", "auddc"])


@style.house
def draw(data: Data, options: dict) -> style.Page:
    """One panel per data set and loss with known factors: AUDDC against the mutual information gap, a point per model."""
    known = data.models.dropna(subset=["mig"])["dataset"].unique()
    attacks = pairs.targeted(data.attacks)
    groups = list(attacks[attacks["dataset"].isin(known)].groupby(["dataset", "loss"], sort=False))
    if not groups:
        return style.message(
            "No attacked data set of this study has known factors: the mutual information gap cannot be measured. "
            "sprites and dsprites have them."
        )
    page, axes = style.panels(len(groups), 2.7)
    handles: dict = {}
    for ax, ((dataset, loss), frame) in zip(axes, groups):
        rows = models(data, frame)
        handles |= _panel(ax, rows, {"dataset": dataset, "loss": loss})
        style.note(ax, _note(rows, frame))
    style.legend(page, handles)
    return page


def _panel(ax: Axes, rows, where: dict) -> dict[str, object]:
    handles = {}
    for family in style.present(rows["family"]):
        its = rows[rows["family"] == family]
        look = {"color": style.COLOURS[family], "linestyle": "", "markersize": 3.5, "alpha": 0.8}
        (handles[style.NAMES[family]],) = ax.plot(its["mig"], its["auddc"], marker=style.MARKERS[family], gid=family, **look)
    for row in rows[rows["flagged"]].itertuples():
        flags.mark(ax, (row.family, row.beta), row.mig, row.auddc)
    ax.set(xlabel="mutual information gap (MIG)", ylabel="AUDDC", title=curves.title(where))
    ax.figure.rows.extend(where | row for row in rows.drop(columns="dataset").to_dict("records"))
    return handles


def _note(rows, frame) -> str:
    found = rank_correlation(rows["mig"], rows["auddc"])
    n = style.count(len(rows), "models")
    said = (
        f"Spearman's ρ {found.estimate:.2f}, 95 % [{found.low:.2f}, {found.high:.2f}], n = {n}."
        if np.isfinite(found.estimate)
        else f"ρ cannot be estimated from {n}: {LEAST} that differ are needed."
    )
    interval = f"Interval: Fisher's with Fieller's variance, models taken for independent. {curves.lambda_range(frame)}"
    return "\n".join(filter(None, [said, interval, flags.said(frame)]))
