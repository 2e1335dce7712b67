"""Density of ‖σ(x)‖₂, the size of the encoder's noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vaepipe.analysis.families import label, ordered, with_posterior_width
from vaepipe.analysis.selection import representatives
from vaepipe.figures import notes, style
from vaepipe.figures.data import Data
from vaepipe.models.family import find_family
from vaepipe.study.cells import Cell

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

CAPTION = r"""
Density over held-out images of ‖σ(x)‖\ :sub:`2`, the size of the encoder's noise, at the β and d\ :sub:`z`
nearest to {beta} and {d_z}. More noise lets the posteriors of two images overlap more. A prior's ‖σ‖\
:sub:`2` is √d\ :sub:`z`.
"""
BANDWIDTH = 1 / 300
"""Least bandwidth, as a share of the axis: a collapsed model stays a visible spike."""
CUT = 4
"""The y axis ends at this multiple of the lowest curve's peak; what is higher is cut, and its height printed.
"""
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
        return style.message("No model of this study was evaluated.")
    figure, axes = style.panels(len(groups), 2.7)
    columns = list(Cell.__dataclass_fields__)
    for ax, (dataset, frame) in zip(axes, groups):
        cells = [Cell(*row) for row in frame[columns].drop_duplicates().itertuples(index=False)]
        _panel(
            ax, dataset, frame, representatives(cells, options.beta, options.d_z), data.rows_called(dataset)
        )
    families = ordered(with_posterior_width(data.table("images"))["family"])
    lines = {label(family): Line2D([], [], color=find_family(family).colour) for family in families}
    lines["prior, $\\sqrt{d_z}$"] = Line2D([], [], color=style.GREY, linestyle="--", linewidth=0.8)
    style.legend(figure, lines)
    return figure


def _panel(ax: Axes, dataset: str, frame: pd.DataFrame, cells: list[Cell], things: str) -> None:
    """Draw the densities of the cells of one data set, the prior's ‖σ‖₂, and the note."""
    d_z = cells[0].d_z
    betas = sorted({cell.beta for cell in cells if cell.beta and cell.family != "vae"})
    ax.set_title(", ".join([dataset, *(f"β = {beta:g}" for beta in betas), f"$d_z$ = {d_z}"]), pad=11)
    values = _values(frame, cells)
    prior = np.sqrt(d_z)
    ends = np.concatenate([[prior], *(np.quantile(rows, (0.001, 0.999)) for rows in values.values())])
    margin = 0.06 * (np.ptp(ends) or 1.0)
    x = np.linspace(max(0, ends.min() - margin), ends.max() + margin, 1200)
    densities = {key: density(rows, x, BANDWIDTH * np.ptp(x)) for key, rows in values.items()}
    cut = _curves(ax, x, densities)
    ax.axvline(prior, color=style.GREY, linestyle="--", linewidth=0.8, zorder=5, gid="prior")
    text = f"√{d_z}" + (f" = {prior:.3g}" if prior.is_integer() else f" ≈ {prior:.2f}")
    look: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 6, "color": style.GREY}
    ax.annotate(text, (prior, 1), (0, 1), ("data", "axes fraction"), "offset points", **look)
    ax.set(xlabel="‖σ(x)‖₂", ylabel="density", xlim=(x[0], x[-1]))
    style.note(ax, _note(values, things, cut))


def _note(values: Values, things: str, cut: int) -> str:
    sizes = sorted({len(rows) for rows in values.values()})
    families = {family for family, _ in values}
    absent = [label(family) for family in notes.ORIGINAL if family not in families]
    lines = [
        f"n = {' or '.join(f'{n:,}' for n in sizes)} held-out {things} per curve.",
        "Gaussian kernel, Scott's bandwidth, at least 1/300 of the axis.",
        f"y axis ends at {CUT} × the lowest peak; numbers: taller peaks." if cut else "",
        "Thin: further training seeds." if len({seed for _, seed in values}) > 1 else "",
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


def _curves(ax: Axes, x: np.ndarray, densities: Values) -> int:
    """Draw the curves, cut the y axis, print the heights of the peaks that are cut; return how many those
    are."""
    peaks = [curve.max() for curve in densities.values()] or [1.0]
    top = 1.12 * min(max(peaks), CUT * min(peaks))
    ax.set_ylim(0, top)
    cut = 0
    for (family, seed), curve in densities.items():
        colour, first = find_family(family).colour, seed == min(s for f, s in densities if f == family)
        ax.plot(x, curve, color=colour, linewidth=1.2 if first else 0.5, gid=f"{family} {seed}")
        kept = curve > 1e-6 * curve.max()
        row = {"panel": ax.get_title(), "family": family, "seed": seed}
        points = zip(x[kept], curve[kept])
        style.page_of(ax).rows.extend(row | {"sigma_norm": at, "density": height} for at, height in points)
        if first:
            ax.fill_between(x, curve, color=colour, alpha=0.15, linewidth=0)
        if first and curve.max() > top:
            # beside the right flank, each a line lower than the one before
            where = (x[np.flatnonzero(curve > top)[-1]], 1 - 0.07 * cut)
            look: dict[str, Any] = {"va": "top", "fontsize": 6, "color": colour}
            ax.annotate(
                f"{curve.max():.3g}", where, (4, -1), ("data", "axes fraction"), "offset points", **look
            )
            cut += 1
    return cut
