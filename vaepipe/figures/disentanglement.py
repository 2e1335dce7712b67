"""Robustness against disentanglement: are models whose latents match the data's factors harder to fool?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from vaepipe.analysis.correlation import FEWEST_MODELS, rank_correlation, robustness_and_disentanglement
from vaepipe.analysis.families import label, ordered
from vaepipe.analysis.formatting import count
from vaepipe.figures import curves, flags, notes, scales, style
from vaepipe.figures.data import Data
from vaepipe.models.family import find_family

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "Robustness (AUDDC) against disentanglement (MIG)"
CAPTION = """
One point per model. AUDDC, the area under the distortion curve (larger is more robust), stands against the
mutual information gap of Chen et al. 2018: how much better the best latent dimension tells a factor of the
data than the next one. It needs known factors. ρ is Spearman's rank correlation.
"""
EMPTY = (
    "No attacked data set of this study has known factors: the mutual information gap cannot be measured. "
    "sprites and dsprites have them."
)


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """One panel per data set and loss with known factors: AUDDC against the mutual information gap, a point
    per model."""
    known = data.table("models").dropna(subset=["mig"])["dataset"].unique()
    attacks = data.targeted_attacks
    groups = list(attacks[attacks["dataset"].isin(known)].groupby(["dataset", "loss"], sort=False))
    if not groups:
        return style.message(EMPTY, options).describe(TITLE, CAPTION)
    names = [{"dataset": dataset, "loss": loss} for (dataset, loss), _ in groups]
    page, axes = style.panels(names, options)
    handles: dict[str, Artist] = {}
    for ax, ((dataset, loss), frame) in zip(axes, groups):
        models = robustness_and_disentanglement(frame, data.table("models"))
        handles |= _panel(ax, models, {"dataset": dataset, "loss": loss})
        curves.say(ax, {"dataset": dataset, "loss": loss}, _note(models, frame))
    curves.write_titles(axes, names)
    scales.share(axes, y=True)
    style.legend(page, handles)
    page.line(curves.shared_name(names), "one point per model")
    return page.describe(TITLE, CAPTION)


def _panel(ax: Axes, models: pd.DataFrame, where: dict[str, str]) -> dict[str, Artist]:
    handles: dict[str, Artist] = {}
    for family in ordered(models["family"]):
        rows = models[models["family"] == family]
        look: dict[str, Any] = {
            "color": find_family(family).colour,
            "marker": find_family(family).marker,
            "linestyle": "",
        }
        (handles[label(family)],) = ax.plot(
            rows["mig"], rows["auddc"], gid=family, markersize=3.5, alpha=0.8, **look
        )
    for row in models[models["flagged"]].itertuples():
        flags.mark(ax, (row.family, row.beta), row.mig, row.auddc)
    scales.label_x(ax, "mutual information gap (MIG)")
    ax.set_ylabel("AUDDC")
    for row in models.drop(columns="dataset").to_dict("records"):
        style.add_row(ax, where | row, row["mig"], row["auddc"])
    return handles


def _note(models: pd.DataFrame, frame: pd.DataFrame) -> str:
    correlation = rank_correlation(models["mig"], models["auddc"])
    n = count(len(models), "models")
    text = f"ρ cannot be estimated from {n}: {FEWEST_MODELS} that differ are needed."
    if np.isfinite(correlation.estimate):
        ends = f"[{correlation.low:.2f}, {correlation.high:.2f}]"
        text = f"Spearman's ρ {correlation.estimate:.2f}, 95 % {ends}, n = {n}."
    interval = "The interval is Fisher's with Fieller's variance; models are taken for independent."
    return notes.joined([text, interval, notes.lambda_range(frame), flags.note(frame)])
