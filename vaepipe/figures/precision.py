"""Why the divergence between two images' posteriors is large: the precision of the latent code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator

from vaepipe.analysis.families import label, ordered, with_posterior_width
from vaepipe.analysis.formatting import count
from vaepipe.figures import curves, scales, style
from vaepipe.figures.data import Data
from vaepipe.models.family import find_family

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "Why Δ₀ is large: the precision of the latent code"
CAPTION = """
Left: Δ₀, the mean KL(q(z|x) ‖ q(z|x')) over all pairs of held-out images, against Σ (exp(2 I) − 1), a point
per model. On the line the two are equal, as they are where each dimension has one σ for all images. Right:
the precision I = ½ ln Var q(z) − E ln σ of each latent dimension, the most precise first. There is a line
per β (darker: larger β), the mean over models. A few precise dimensions make a large Δ₀.
"""
EMPTY = "No model with posteriors of two images apart was evaluated in this study."


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """Two panels per data set: Δ₀ against squared precision, and the sorted precisions of the dimensions."""
    models = with_posterior_width(data.table("models"))
    models = models[models["pair_divergence"].gt(0) & models["squared_precision"].gt(0)]
    groups = list(models.groupby("dataset", sort=False))
    if not groups:
        return style.message(EMPTY, options).describe(TITLE, CAPTION)
    names = [{"dataset": dataset} for dataset, _ in groups for _ in range(2)]
    page, axes = style.panels(names, options)
    handles: dict[str, Artist] = {}
    dimensions = with_posterior_width(data.table("dimensions"))
    for row, (dataset, rows) in enumerate(groups):
        handles |= _scatter(axes[2 * row], str(dataset), rows)
        _spectrum(axes[2 * row + 1], str(dataset), dimensions[dimensions["dataset"] == dataset])
        curves.say(axes[2 * row], {"dataset": dataset}, f"{count(len(rows), 'models')}.")
    style.legend(page, handles)
    page.line("one point per model", "right: means over models")
    return page.describe(TITLE, CAPTION)


def _scatter(ax: Axes, dataset: str, rows: pd.DataFrame) -> dict[str, Artist]:
    """Draw Δ₀ of each model against its squared precision, and the line where they are equal."""
    handles: dict[str, Artist] = {}
    for family in ordered(rows["family"]):
        own = rows[rows["family"] == family]
        look: dict[str, Any] = {
            "color": find_family(family).colour,
            "marker": find_family(family).marker,
            "s": style.size(14),
        }
        handles[label(family)] = ax.scatter(
            own["squared_precision"], own["pair_divergence"], gid=f"models {family}", **look
        )
    both = rows[["squared_precision", "pair_divergence"]].to_numpy()
    ends = [both.min() / 1.3, both.max() * 1.3]
    ax.plot(ends, ends, color=style.GREY, linewidth=style.size(0.7), zorder=0, gid="equal")
    ax.set(xscale="log", yscale="log", title=dataset)
    ax.set(xlabel="Σ (exp(2 I) − 1)", ylabel="Δ₀, nats")
    scales.log_ticks(ax, "x", most=4)
    scales.log_ticks(ax)
    for row in rows.itertuples():
        cell = {"dataset": dataset, "quantity": "pair_divergence", "family": row.family, "beta": row.beta}
        cell |= {"d_z": row.d_z, "seed": row.seed, "estimate": row.pair_divergence}
        style.page_of(ax).rows.append(cell | {"squared_precision": row.squared_precision})
    return handles


def _spectrum(ax: Axes, dataset: str, rows: pd.DataFrame) -> None:
    """Draw the mean precision of each rank, a line per (family, β); darker lines have a larger β."""
    betas = sorted(beta for beta in rows["beta"].unique() if beta > 0)
    norm = LogNorm(betas[0] if betas else 1, max([*betas, 1.0001]))
    for (family, beta), own in rows.groupby(["family", "beta"], sort=False):
        mean = own.groupby("rank")["precision"].mean()
        shade = 0.35 + 0.65 * float(norm(beta)) if beta > 0 and len(betas) > 1 else 1.0
        look: dict[str, Any] = {"color": find_family(str(family)).colour, "alpha": shade, "linewidth": 0.9}
        ax.plot(mean.index, mean, marker=".", markersize=3, gid=f"precision {family} {beta:g}", **look)
        for rank, value in mean.items():
            cell = {"dataset": dataset, "quantity": "precision", "family": family, "beta": beta}
            style.page_of(ax).rows.append(cell | {"rank": rank, "estimate": value})
    scales.label_x(ax, "latent dimension, most precise first")
    ax.set(ylabel="precision I, nats", title=dataset)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if rows["rank"].max() > 32:
        ax.set_xscale("log", base=2)
