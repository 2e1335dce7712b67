"""Density of ‖σ(x)‖₂, the size of the encoder's noise."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vaepipe.figures import style
from vaepipe.figures.registry import Data, chosen
from vaepipe.study.grid import Cell

BANDWIDTH = 1 / 300
"""Least bandwidth, as a share of the axis: a collapsed model stays a visible spike."""
CUT = 4
"""The y axis ends at this multiple of the lowest curve's peak; what is higher is cut, and its height printed."""


def density(values: np.ndarray, x: np.ndarray, least: float) -> np.ndarray:
    """Gaussian kernel density of ``values`` (N,) at increasing ``x`` (G,), with the larger of Scott's bandwidth and ``least``."""
    bandwidth = max(least, values.std() * len(values) ** -0.2)
    heights = np.zeros(len(x))
    for block in np.array_split(np.sort(values), len(values) // 64 + 1):
        near = slice(*np.searchsorted(x, (block[0] - 9 * bandwidth, block[-1] + 9 * bandwidth)))  # beyond: less than 1e-17
        heights[near] += np.exp(-0.5 * ((x[near] - block[:, None]) / bandwidth) ** 2).sum(0)
    return heights / len(values) / bandwidth / np.sqrt(2 * np.pi)


@style.house
def draw(data: Data, options: dict) -> style.Page:
    """One panel per data set: held-out images' ‖σ(x)‖₂ for one model of each family; thin: its further training seeds."""
    groups = list(data.images.groupby("dataset", sort=False))
    if not groups:
        return style.message("No model of this study was evaluated.")
    figure, axes = style.panels(len(groups), 2.7)
    for ax, (dataset, frame) in zip(axes, groups):
        keys = list(Cell.__dataclass_fields__)
        cells = chosen((Cell(*row) for row in frame[keys].drop_duplicates().itertuples(index=False)), options)
        _panel(ax, dataset, frame, cells)
    present = [f for f in style.present(data.images["family"].unique()) if f != "ae"]
    lines = {style.NAMES[f]: Line2D([], [], color=style.COLOURS[f]) for f in present}
    style.legend(figure, lines | {"prior, $\\sqrt{d_z}$": Line2D([], [], color=style.GREY, linestyle="--", linewidth=0.8)})
    return figure


def _panel(ax: Axes, dataset: str, frame, cells: list[Cell]) -> None:
    betas = sorted({cell.beta for cell in cells if cell.beta and cell.family != "vae"})
    ax.set_title(", ".join([dataset, *(f"β = {beta:g}" for beta in betas), f"$d_z$ = {cells[0].d_z}"]), pad=11)
    found = _values(frame, cells)
    prior = np.sqrt(cells[0].d_z)
    ends = np.concatenate([[prior], *(np.quantile(values, (0.001, 0.999)) for values in found.values())])
    margin = 0.06 * (np.ptp(ends) or 1.0)
    x = np.linspace(max(0, ends.min() - margin), ends.max() + margin, 1200)
    taller = _curves(ax, x, {key: density(values, x, BANDWIDTH * np.ptp(x)) for key, values in found.items()})
    ax.axvline(prior, color=style.GREY, linestyle="--", linewidth=0.8, zorder=5, gid="prior")
    label = f"√{cells[0].d_z}" + (f" = {prior:.3g}" if prior.is_integer() else f" ≈ {prior:.2f}")
    look = {"ha": "center", "va": "bottom", "fontsize": 6, "color": style.GREY}
    ax.annotate(label, (prior, 1), (0, 1), ("data", "axes fraction"), "offset points", **look)
    ax.set(xlabel="‖σ(x)‖₂", ylabel="density", xlim=(x[0], x[-1]))
    sizes = sorted({len(values) for values in found.values()})
    absent = [style.NAMES[f] for f in style.USUAL if f not in {family for family, _ in found}]
    lines = [f"n = {' or '.join(f'{n:,}' for n in sizes)} held-out {style.things(dataset)} per curve."]
    lines += ["Gaussian kernel, Scott's bandwidth, at least 1/300 of the axis."]
    lines += [f"y axis ends at {CUT} × the lowest peak; numbers: taller peaks."] if taller else []
    lines += ["Thin: further training seeds."] if len({seed for _, seed in found}) > 1 else []
    lines += [f"Not in this study: {', '.join(absent)}."] if absent else []
    style.note(ax, "\n".join(lines))


def _values(frame, cells: list[Cell]) -> dict[tuple[str, int], np.ndarray]:
    """(family, seed) → ‖σ(x)‖₂ of the held-out rows, for every seed of the chosen cells."""
    found = {}
    for cell in cells:
        rows = frame[(frame["family"] == cell.family) & (frame["beta"] == cell.beta) & (frame["d_z"] == cell.d_z)]
        for seed, its in rows.groupby("seed"):
            values = its["sigma_norm"].to_numpy(float)
            found[cell.family, seed] = values[np.isfinite(values)]
    return {key: values for key, values in found.items() if len(values)}


def _curves(ax: Axes, x: np.ndarray, curves: dict[tuple[str, int], np.ndarray]) -> int:
    """Draw the curves, cut the y axis, print the heights of the peaks that are cut; returns how many those are."""
    peaks = [curve.max() for curve in curves.values()] or [1.0]
    top = 1.12 * min(max(peaks), CUT * min(peaks))
    ax.set_ylim(0, top)
    cut = 0
    for (family, seed), curve in curves.items():
        colour, first = style.COLOURS[family], seed == min(s for f, s in curves if f == family)
        ax.plot(x, curve, color=colour, linewidth=1.2 if first else 0.5, gid=f"{family} {seed}")
        kept = curve > 1e-6 * curve.max()
        base = {"panel": ax.get_title(), "family": family, "seed": seed}
        ax.figure.rows.extend(base | {"sigma_norm": at, "density": height} for at, height in zip(x[kept], curve[kept]))
        if first:
            ax.fill_between(x, curve, color=colour, alpha=0.15, linewidth=0)
        if first and curve.max() > top:
            # beside the right flank, each a line lower than the one before
            where = (x[np.flatnonzero(curve > top)[-1]], 1 - 0.07 * cut)
            look = {"va": "top", "fontsize": 6, "color": colour}
            ax.annotate(f"{curve.max():.3g}", where, (4, -1), ("data", "axes fraction"), "offset points", **look)
            cut += 1
    return cut
