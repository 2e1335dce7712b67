"""How the divergence before an attack changes in the course of training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from vaepipe.analysis.families import label, ordered, with_posterior_width
from vaepipe.analysis.formatting import count
from vaepipe.analysis.intervals import clustered_interval
from vaepipe.figures import curves, notes, scales, style
from vaepipe.figures.data import Data
from vaepipe.models.family import find_family

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "Δ₀ in the course of training"
CAPTION = """
Δ₀ is the KL divergence between the posteriors of two held-out images, here against the steps of training.
Lines with markers are the mean over all pairs, dotted lines the median over random pairs. There is a line
per family and β (darker: larger β), the mean over models.
"""
EMPTY = "This study keeps no snapshots of its trainings: train.snapshots is []."
LINES = {"pair_divergence": "-", "pair_divergence_median": ":"}
"""Column → style of its line."""


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """One panel per data set with snapshots: mean and median Δ₀ against the number of steps."""
    models = with_posterior_width(data.table("models"))
    groups = [
        (dataset, rows)
        for dataset, rows in models.groupby("dataset", sort=False)
        if rows["snapshot"].gt(0).any()
    ]
    if not groups:
        return style.message(EMPTY, options).describe(TITLE, CAPTION)
    page, axes = style.panels([{"dataset": dataset} for dataset, _ in groups], options)
    handles: dict[str, Artist] = {}
    for ax, (dataset, rows) in zip(axes, groups):
        handles |= _panel(ax, str(dataset), rows, options.resamples)
        resampled = notes.resampling(rows, {"seed": "training seeds"}, options.resamples, "Bars")
        curves.say(
            ax, {"dataset": dataset}, f"{count(len(rows), 'models')}, snapshots among them.", resampled
        )
    scales.share(axes, y=True)
    style.legend(page, handles)
    page.line("mean: lines with markers; median: dotted")
    return page.describe(TITLE, CAPTION)


def _panel(ax: Axes, dataset: str, rows: pd.DataFrame, resamples: int) -> dict[str, Artist]:
    """Draw the lines of one data set; return the artists of the legend."""
    handles: dict[str, Artist] = {}
    betas = sorted(rows["beta"].unique())
    order = ordered(rows["family"])
    for (family, beta), own in sorted(
        rows.groupby(["family", "beta"]), key=lambda item: order.index(item[0][0])
    ):
        shade = 0.45 + 0.55 * (betas.index(beta) + 1) / len(betas)
        for column, line in LINES.items():
            points = {
                steps: clustered_interval(models[column], [models["seed"]], resamples=resamples, log=True)
                for steps, models in own.groupby("steps")
            }
            look: dict[str, Any] = {"color": find_family(family).colour, "linestyle": line, "alpha": shade}
            marker = find_family(family).marker if line == "-" else ""
            values = [interval.estimate for interval in points.values()]
            (artist,) = ax.plot(
                list(points), values, marker=marker, gid=f"{column} {family} {beta:g}", **look
            )
            if line == "-":
                handles[f"{label(family)}, β = {beta:g}"] = artist
                for steps, interval in points.items():
                    ax.plot(
                        [steps] * 2, interval[1:], color=look["color"], alpha=shade, linewidth=style.size(0.7)
                    )
            for steps, interval in points.items():
                row = {"dataset": dataset, "quantity": column, "family": family, "beta": beta, "steps": steps}
                style.page_of(ax).rows.append(row | {"models": len(own)} | interval._asdict())
    ax.set(xscale="log", yscale="log", xlabel="steps of training", ylabel="Δ₀, nats", title=dataset)
    scales.x_ticks(ax, {step: f"{step:,.0f}" for step in rows["steps"].unique()})
    ax.minorticks_off()
    scales.log_ticks(ax)
    return handles
