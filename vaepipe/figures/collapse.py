"""Is a latent space still used? Numbers that tell a robust model from one that collapsed or blew up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import SubFigure

from vaepipe.analysis.families import label, with_posterior_width
from vaepipe.analysis.formatting import count
from vaepipe.analysis.intervals import clustered_interval
from vaepipe.figures import curves, notes, style
from vaepipe.figures.data import Data

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

CAPTION = r"""
Diagnostics of the latent space against β: active units, KL, total correlation, ‖σ‖\ :sub:`2` and ‖μ‖\
:sub:`2`. Where KL and active units fall to nothing the latent space has collapsed, and a high robustness
there is that of a model that ignores its input.
"""
PANELS = {
    "used": "share of latents active",
    "kl": "KL, nats",
    "total_correlation": "total correlation, nats",
    "width": "‖σ‖₂ / √$d_z$",
    "mean_norm": "‖μ‖₂",
}


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """A row per data set, against β: active latents, KL, exact total correlation, width and reach of the
    posteriors.

    A collapsed model has few active latents, little KL and ‖σ‖₂ = √d_z; an exploded one has ‖μ‖₂ far above
    √d_z.
    """
    frame = with_posterior_width(data.table("models"))
    frame = frame.assign(
        used=frame["active_units"] / frame["d_z"], width=frame["sigma_norm"] / np.sqrt(frame["d_z"])
    )
    groups = list(frame.groupby("dataset", sort=False))
    if not groups:
        return style.message("No model with posteriors was evaluated in this study.")
    page = style.Page(figsize=(2 * style.COLUMN, 1.95 * len(groups) + 0.3))
    parts = page.subfigures(len(groups), 1, squeeze=False)[:, 0]
    handles: dict[str, Artist] = {}
    for part, (dataset, rows) in zip(parts, groups):
        handles |= _row(page, part, dataset, rows, options.resamples)
    style.legend(page, handles)
    return page


def _row(
    page: style.Page, part: SubFigure, dataset: str, rows: pd.DataFrame, resamples: int
) -> dict[str, Artist]:
    """Draw the panels of one data set."""
    axes = part.subplots(1, len(PANELS))
    handles: dict[str, Artist] = {}
    for ax, (column, text) in zip(axes, PANELS.items()):
        means = {
            key: clustered_interval(models[column], [models["seed"]], resamples=resamples)
            for key, models in rows.groupby(["family", "beta"])
        }
        handles |= curves.draw_curves(ax, means)
        ax.set_title(text, fontsize=7)
        ax.tick_params(labelsize=6)
        for (family, beta), interval in means.items():
            row = {"dataset": dataset, "quantity": column, "family": family, "beta": beta}
            page.rows.append(row | interval._asdict())
    axes[0].set_ylabel(dataset)
    part.supxlabel(_note(rows, resamples), gid="note", x=0.01, ha="left", **style.SMALL)
    return handles


def _note(rows: pd.DataFrame, resamples: int) -> str:
    unusable = [
        f"{label(row.family)} β = {row.beta:g}, $d_z$ = {row.d_z}, seed {row.seed} {row.state}"
        for row in rows[rows["state"] != "ok"].itertuples()
    ]
    states = f"{notes.first_few(unusable)}." if unusable else "No model collapsed or exploded."
    seeds, models = count(rows["seed"].nunique(), "seeds"), count(len(rows), "models")
    first = f"Mean over {rows['d_z'].nunique()} $d_z$ and {seeds}, top layer, {models}. {states}"
    return first + "\n" + notes.resampling(rows, {"seed": "training seeds"}, resamples, "band")
