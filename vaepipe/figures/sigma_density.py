"""Density of ‖σ(x)‖₂, the size of the encoder's noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vaepipe.analysis.families import label, ordered, with_posterior_width
from vaepipe.analysis.selection import representatives
from vaepipe.figures import curves, notes, scales, style
from vaepipe.figures.data import Data
from vaepipe.models.family import find_family
from vaepipe.study.cells import Cell

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "Density of ‖σ(x)‖₂, the size of the encoder's noise"
CAPTION = """
Distribution over held-out data of the 2-norm of the posterior's standard deviations, for one model of each
family. Larger noise lets the posteriors of two inputs overlap more; the dashed line is the prior's √d_z,
and a peak there has collapsed. Gaussian kernel with Scott's bandwidth, at least 1/300 of the axis.
"""
EMPTY = "No model of this study was evaluated."
BANDWIDTH = 1 / 300
"""Least bandwidth, as a share of the axis: a collapsed model stays a visible spike."""
CUT = 4
"""The y axis ends at this multiple of the lowest peak; the caption says how high the others are."""
Values = dict[tuple[str, int], np.ndarray]
"""(family, seed) → (N,) ‖σ(x)‖₂ of held-out rows, or (G,) their density."""


def density(values: np.ndarray, x: np.ndarray, least: float) -> np.ndarray:
    """Return the Gaussian kernel density of ``values`` (N,) at increasing ``x`` (G,).

    The bandwidth is the larger of Scott's and ``least``.
    """
    bandwidth = max(least, values.std() * len(values) ** -0.2)
    heights = np.zeros(len(x))
    for block in np.array_split(np.sort(values), len(values) // 64 + 1):
        ends = (block[0] - 9 * bandwidth, block[-1] + 9 * bandwidth)  # beyond, a kernel is below 1e-17
        near = slice(*np.searchsorted(x, ends))
        heights[near] += np.exp(-0.5 * ((x[near] - block[:, None]) / bandwidth) ** 2).sum(0)
    return heights / len(values) / bandwidth / np.sqrt(2 * np.pi)


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """One panel per data set: held-out images' ‖σ(x)‖₂ for one model of each family; thin: its further
    training seeds."""
    groups = list(data.table("images").groupby("dataset", sort=False))
    if not groups:
        return style.message(EMPTY, options).describe(TITLE, CAPTION)
    columns = list(Cell.__dataclass_fields__)
    names = []
    page, axes = style.panels([{"dataset": dataset} for dataset, _ in groups], options)
    for ax, (dataset, frame) in zip(axes, groups):
        cells = [Cell(*row) for row in frame[columns].drop_duplicates().itertuples(index=False)]
        shown = representatives(cells, options.beta, options.d_z)
        names.append(_name(str(dataset), shown))
        _panel(ax, names[-1], frame, shown, data.rows_called(str(dataset)))
    families = ordered(with_posterior_width(data.table("images"))["family"])
    lines = {label(family): Line2D([], [], color=find_family(family).colour) for family in families}
    lines["prior, $\\sqrt{d_z}$"] = Line2D(
        [], [], color=style.GREY, linestyle="--", linewidth=style.size(0.8)
    )
    curves.write_titles(axes, names)
    scales.share(axes)
    style.legend(page, lines)
    page.line(curves.shared_name(names), "the VAE has β = 1")
    return page.describe(TITLE, CAPTION)


def _name(dataset: str, cells: list[Cell]) -> dict[str, Any]:
    """Return what names the panel of these cells."""
    betas = sorted({cell.beta for cell in cells if cell.beta and cell.family != "vae"})
    return {"dataset": dataset} | ({"beta": betas[-1]} if betas else {}) | {"d_z": cells[0].d_z}


def _panel(ax: Axes, where: curves.Where, frame: pd.DataFrame, cells: list[Cell], things: str) -> None:
    """Draw the densities of the cells of one data set and the prior's ‖σ‖₂."""
    values = _values(frame, cells)
    prior = np.sqrt(cells[0].d_z)
    ends = np.concatenate([[prior], *(np.quantile(rows, (0.001, 0.999)) for rows in values.values())])
    margin = 0.06 * (np.ptp(ends) or 1.0)
    x = np.linspace(max(0, ends.min() - margin), ends.max() + margin, 1200)
    densities = {key: density(rows, x, BANDWIDTH * np.ptp(x)) for key, rows in values.items()}
    cut = _curves(ax, curves.name_of(where), x, densities)
    ax.axvline(prior, color=style.GREY, linestyle="--", linewidth=style.size(0.8), zorder=5, gid="prior")
    ax.set(xlabel="‖σ(x)‖₂", ylabel="density", xlim=(x[0], x[-1]))
    curves.say(ax, where, _note(values, things, cut))


def _note(values: Values, things: str, cut: list[str]) -> str:
    sizes = sorted({len(rows) for rows in values.values()})
    families = {family for family, _ in values}
    absent = [label(family) for family in notes.ORIGINAL if family not in families]
    lines = [
        f"Each curve is of {' or '.join(f'{n:,}' for n in sizes)} held-out {things}.",
        f"The y axis ends at {CUT} times the lowest peak; taller ones: {', '.join(cut)}." if cut else "",
        "Thin lines are further training seeds." if len({seed for _, seed in values}) > 1 else "",
        f"Not in this study: {', '.join(absent)}." if absent else "",
    ]
    return notes.joined(lines)


def _values(frame: pd.DataFrame, cells: list[Cell]) -> Values:
    """Return ‖σ(x)‖₂ of the held-out rows, for every seed of the chosen cells."""
    values = {}
    for cell in cells:
        same = (frame["family"] == cell.family) & (frame["beta"] == cell.beta) & (frame["d_z"] == cell.d_z)
        for seed, rows in frame[same].groupby("seed"):
            sizes = rows["sigma_norm"].to_numpy(float)
            values[cell.family, seed] = sizes[np.isfinite(sizes)]
    return {key: rows for key, rows in values.items() if len(rows)}


def _curves(ax: Axes, panel: str, x: np.ndarray, densities: Values) -> list[str]:
    """Draw the curves and cut the y axis; return the heights of the peaks that are cut."""
    peaks = [curve.max() for curve in densities.values()] or [1.0]
    top = 1.12 * min(max(peaks), CUT * min(peaks))
    ax.set_ylim(0, top)
    cut = []
    for (family, seed), curve in densities.items():
        colour, first = find_family(family).colour, seed == min(s for f, s in densities if f == family)
        width = style.size(1.2 if first else 0.5)
        ax.plot(x, curve, color=colour, linewidth=width, gid=f"{family} {seed}")
        kept = curve > 1e-6 * curve.max()
        row = {"panel": panel, "family": family, "seed": seed}
        points = zip(x[kept], curve[kept])
        style.page_of(ax).rows.extend(row | {"sigma_norm": at, "density": height} for at, height in points)
        if first:
            ax.fill_between(x, curve, color=colour, alpha=0.15, linewidth=0)
        if first and curve.max() > top:
            cut.append(f"{label(family)} {curve.max():.3g}")
    return cut
