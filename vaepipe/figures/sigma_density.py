"""Density of ‖σ(x)‖₂, the size of the encoder's noise."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vaepipe.figures import Data, chosen, style
from vaepipe.grid import Cell

BANDWIDTH = 1 / 300
"""Least bandwidth, as a share of the axis: a collapsed model stays a visible spike."""
CUT = 4
"""The y axis ends at this multiple of the lowest curve's peak; what is higher is cut, and its height printed."""


def density(values: np.ndarray, x: np.ndarray, least: float) -> np.ndarray:
    """Gaussian kernel density of ``values`` (N,) at ``x`` (G,), with Scott's bandwidth or ``least``, whichever is larger."""
    bandwidth = max(least, values.std() * len(values) ** -0.2)
    return np.mean([np.exp(-0.5 * ((x - value) / bandwidth) ** 2) for value in values], axis=0) / bandwidth / np.sqrt(2 * np.pi)


@style.house
def draw(data: Data, options: dict) -> Figure:
    """One panel per data set: held-out images' ‖σ(x)‖₂ for one model of each family; thin: its further training seeds."""
    groups = list(data.images.groupby("dataset", sort=False))
    if not groups:
        return style.message("No model of this study was evaluated.")
    figure, axes = style.panels(len(groups), 2.7)
    for ax, (dataset, frame) in zip(axes, groups):
        keys = list(Cell.__dataclass_fields__)
        cells = chosen((Cell(*row) for row in frame[keys].drop_duplicates().itertuples(index=False)), options)
        _panel(ax, dataset, frame, cells)
    lines = {style.NAMES[f]: Line2D([], [], color=style.COLOURS[f]) for f in style.FAMILIES}
    style.legend(figure, lines | {"prior, √d_z": Line2D([], [], color=style.GREY, linestyle="--", linewidth=0.8)})
    return figure


def _panel(ax: Axes, dataset: str, frame, cells: list[Cell]) -> None:
    prior = np.sqrt(cells[0].d_z)
    found = {}
    for cell in cells:
        rows = frame[(frame["family"] == cell.family) & (frame["beta"] == cell.beta) & (frame["d_z"] == cell.d_z)]
        for seed, its in rows.groupby("seed"):
            values = its["sigma_norm"].to_numpy(float)
            found[cell.family, seed] = values[np.isfinite(values)]
    found = {key: values for key, values in found.items() if len(values)}
    ends = np.concatenate([[prior], *(np.quantile(values, (0.001, 0.999)) for values in found.values())])
    width = np.ptp(ends) or 1.0
    x = np.linspace(max(0, ends.min() - 0.06 * width), ends.max() + 0.06 * width, 1500)
    curves = {key: density(values, x, BANDWIDTH * np.ptp(x)) for key, values in found.items()}
    peaks = {key: curve.max() for key, curve in curves.items()}
    top = min(max(peaks.values(), default=1), CUT * min(peaks.values(), default=1)) * 1.12
    for (family, seed), curve in curves.items():
        first = seed == min(s for f, s in curves if f == family)
        ax.plot(x, curve, color=style.COLOURS[family], linewidth=1.2 if first else 0.5, gid=f"{family} {seed}")
        if first:
            ax.fill_between(x, curve, color=style.COLOURS[family], alpha=0.15, linewidth=0)
            if peaks[family, seed] > top:
                where = (x[curve.argmax()], 0.985 * top)
                ax.annotate(
                    f"↑{peaks[family, seed]:.3g}",
                    where,
                    (3, 0),
                    textcoords="offset points",
                    va="top",
                    fontsize=6,
                    color=style.COLOURS[family],
                )
    ax.axvline(prior, color=style.GREY, linestyle="--", linewidth=0.8, zorder=0, gid="prior")
    ax.annotate(
        f"√{cells[0].d_z}",
        (prior, 1),
        (0, 1),
        ("data", "axes fraction"),
        "offset points",
        ha="center",
        va="bottom",
        fontsize=6,
        color=style.GREY,
    )
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(0, top)
    betas = sorted({cell.beta for cell in cells if cell.family != "vae"})
    ax.set_title(", ".join([dataset, *(f"β = {beta:g}" for beta in betas), f"d_z = {cells[0].d_z}"]), pad=11)
    ax.set_xlabel("‖σ(x)‖₂")
    ax.set_ylabel("density")
    sizes = sorted({len(values) for values in found.values()})
    absent = [style.NAMES[f] for f in style.FAMILIES if f not in {family for family, _ in found}]
    style.note(
        ax,
        f"{' or '.join(f'{n:,}' for n in sizes)} held-out rows per curve; Gaussian kernel, Scott's bandwidth, at least 1/300 of the axis. "
        f"y axis cut at {CUT} × the lowest peak; ↑ height of a peak that is cut."
        + (" Thin: further training seeds." if len({seed for _, seed in found}) > 1 else "")
        + (f" Not in this study: {', '.join(absent)}." if absent else ""),
    )
