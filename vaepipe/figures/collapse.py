"""Is a latent space still used? Numbers that tell a robust model from one that collapsed or blew up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from vaepipe.analysis.families import label, with_posterior_width
from vaepipe.analysis.formatting import count
from vaepipe.analysis.intervals import clustered_interval
from vaepipe.figures import curves, notes, scales, style
from vaepipe.figures.data import Data

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "Is the latent space still used?"
CAPTION = """
Diagnostics of the top layer's posteriors against β, means over d_z and seeds. A latent dimension is active
if its posterior mean has a variance above 0.01 over images (Burda et al. 2016). The KL divergence is that to
the prior, and the total correlation is exact. The width ‖σ‖₂ is a share of the prior's √d_z. A collapsed
model has few active latents, little KL and a width of 1. An exploded one has ‖μ‖₂ far above √d_z. A model
that ignores its input is hard to fool, which is no robustness.
"""
EMPTY = "No model with posteriors was evaluated in this study."
PANELS = {
    "used": "active latents, share",
    "kl": "KL, nats",
    "total_correlation": "total correlation, nats",
    "width": "‖σ‖₂ / √$d_z$",
    "mean_norm": "‖μ‖₂",
}


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """A row per data set, against β: active latents, KL, exact total correlation, width and reach of the
    posteriors."""
    frame = with_posterior_width(data.table("models"))
    frame = frame.assign(
        used=frame["active_units"] / frame["d_z"], width=frame["sigma_norm"] / np.sqrt(frame["d_z"])
    )
    groups = list(frame.groupby("dataset", sort=False))
    if not groups:
        return style.message(EMPTY, options).describe(TITLE, CAPTION)
    unit = style.LOOKS[options.style].text / 8
    wide = options.width == "page"
    columns = len(PANELS) if wide else 2
    rows = -(-len(PANELS) // columns) * len(groups)
    page = style.Page(figsize=(style.width_of(options), (1.35 * rows + 0.5) * unit), options=options)
    axes = page.subplots(rows, columns, squeeze=False).reshape(len(groups), -1)
    handles: dict[str, Artist] = {}
    betas: dict[Axes, list[float]] = {}
    for row, (dataset, models) in zip(axes, groups):
        handles |= _row(page, row, str(dataset), models, options.resamples, betas)
        for ax in row[len(PANELS) :]:
            ax.set_axis_off()
    scales.beta_axes(betas)
    scales.share(list(betas))
    style.legend(page, handles)
    clusters = {"seed": "training seeds"}
    page.line(notes.band_over(frame, clusters) or "means over $d_z$; one training seed: no bands")
    return page.describe(TITLE, CAPTION)


def _row(
    page: style.Page,
    axes: np.ndarray,
    dataset: str,
    rows: pd.DataFrame,
    resamples: int,
    betas: dict[Axes, list[float]],
) -> dict[str, Artist]:
    """Draw the panels of one data set; add the β of each to ``betas``."""
    handles: dict[str, Artist] = {}
    for ax, (column, text) in zip(axes, PANELS.items()):
        means = {
            key: clustered_interval(models[column], [models["seed"]], resamples=resamples)
            for key, models in rows.groupby(["family", "beta"])
        }
        handles |= curves.draw_curves(ax, means)
        betas[ax] = sorted({beta for _, beta in means if beta})
        ax.set_title(text, fontsize=style.size(7))
        ax.tick_params(labelsize=style.size(6.5))
        low, high = ax.get_ylim()
        if column in ("used", "width"):
            ax.set_ylim(0, max(1.0, high) if column == "width" else 1.0)
        else:
            ax.set_ylim(min(0.0, low), high)
        for line in ax.lines:
            line.set_clip_on(False)
        for (family, beta), interval in means.items():
            row = {"dataset": dataset, "quantity": column, "family": family, "beta": beta}
            page.rows.append(row | interval._asdict())
    axes[0].set_ylabel(dataset)
    curves.say(axes[0], {"dataset": dataset}, _note(rows, resamples))
    return handles


def _note(rows: pd.DataFrame, resamples: int) -> str:
    unusable = [
        f"{label(row.family)} β = {row.beta:g}, d_z = {row.d_z}, seed {row.seed} ({row.state})"
        for row in rows[rows["state"] != "ok"].itertuples()
    ]
    states = (
        f"Called unusable: {notes.first_few(unusable)}." if unusable else "No model collapsed or exploded."
    )
    seeds, models = count(rows["seed"].nunique(), "seeds"), count(len(rows), "models")
    first = f"{models}, {rows['d_z'].nunique()} d_z, {seeds}."
    return notes.joined(
        [first, states, notes.resampling(rows, {"seed": "training seeds"}, resamples, "Bands")]
    )
