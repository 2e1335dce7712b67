"""What the figures against β share: means with bands, and the sentence that says what the band is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vaepipe.figures import style
from vaepipe.stats import Interval, clustered_interval

Points = dict[tuple[str, float], Interval]
BETWEEN = {"training seeds": "trainings"}
FEW = 10
"""With fewer clusters than this a percentile interval is known to be too narrow."""


def points(frame, column: str, clusters: tuple[str, ...], resamples: int) -> Points:
    """(family, β) → mean of ``column`` over all its rows, with the clustered 95 % interval."""
    return {
        key: clustered_interval(rows[column], {name: rows[name] for name in clusters}, resamples=resamples)
        for key, rows in frame.groupby(["family", "beta"])
    }


def line(found: Mapping, family: str) -> tuple[list[float], list]:
    """(β, values) of a family's line, β increasing; the VAE is its point at β = 1. Empty where only the VAE was trained."""
    its = {beta: value for (name, beta), value in found.items() if name == family or (name, beta) == (style.base(family), 1.0)}
    if not any(name == family for name, _ in found):
        return [], []
    return sorted(its), [its[beta] for beta in sorted(its)]


def draw_curves(ax: Axes, found: Points) -> dict[str, Line2D]:
    """Draw a line with its band for every family, and the VAE as a point of both; returns artists by legend label."""
    handles = {}
    for family in style.LINES:
        betas, intervals = line(found, family)
        if betas:
            # white edges and some transparency keep two lines that lie on each other apart
            colour, edge = style.COLOURS[family], {"markeredgecolor": "white", "markeredgewidth": 0.4}
            (artist,) = ax.plot(
                betas, [i.estimate for i in intervals], gid=family, color=colour, marker=style.MARKERS[family], **edge
            )
            ends = np.array([[i.low, i.high] for i in intervals]).T
            band = ax.fill_between(betas, *ends, color=colour, alpha=0.2, linewidth=0)
            band.set_gid(f"band {family}")
            handles[style.NAMES[family]] = artist
    if ("vae", 1.0) in found:
        estimate, low, high = found["vae", 1.0]
        (artist,) = ax.plot([1.0], [estimate], style.MARKERS["vae"], color=style.COLOURS["vae"], gid="vae", zorder=3)
        ax.vlines([1.0], low, high, color=style.COLOURS["vae"], linewidth=1.2, zorder=3)
        handles["VAE (β = 1)"] = artist
    style.beta_axis(ax, sorted({beta for _, beta in found}))
    return handles


def describe(
    frame, found: Points, what: str, axes: Mapping[str, str], clusters: Mapping[str, str], resamples: int, log=False
) -> str:
    """How many rows each point has, what the band holds and what it does not.

    Args:
        what: plural of a row, such as ``trials``.
        axes: column → plural of the things that are averaged over.
        clusters: column → plural of the things that are resampled.
        log: the y axis is logarithmic.
    """
    sizes = frame.groupby(["family", "beta"]).size()
    counts = {name: frame[name].nunique() for name in axes}
    n = f"{sizes.max():,}" if sizes.min() == sizes.max() else f"{sizes.min():,} to {sizes.max():,}"
    product = " × ".join(style.count(counts[name], plural) for name, plural in axes.items())
    full = np.prod([counts[name] for name in axes]) == sizes.min()
    lines = [f"n = {n} {what} per point ({'' if full else 'at most '}{product})."]
    lines.append(resampled(frame, clusters, resamples, "band"))
    absent = [style.NAMES[f] for f in style.USUAL[1:] if not any(family == f for family, _ in found)]
    absent += [] if ("vae", 1.0) in found else ["β = 1"]
    lines += [f"Not in this study: {', '.join(absent)}."] if absent else []
    drawn = {key: np.isfinite(i.estimate) and (i.estimate > 0 or not log) for key, i in found.items()}
    wild = [f"{style.NAMES[f]} at β = {b:g} ({found[f, b].estimate:g})" for f, b in found if not drawn[f, b]]
    lines += [f"Off the axis, not drawn: {', '.join(wild)}."] if wild else []
    return "\n".join(lines)


def resampled(frame, clusters: Mapping[str, str], resamples: int, shown: str) -> str:
    """What was resampled for the intervals, and which variation they therefore lack; ``shown``: band or interval."""
    counts = {plural: frame[name].nunique() for name, plural in clusters.items()}
    moved = [style.count(n, plural) for plural, n in counts.items() if n > 1]
    text = f"95 % {shown}: bootstrap over {' and '.join(moved)}, {resamples:,} resamples" if moved else f"No {shown}"
    for plural in (plural for plural, n in counts.items() if n == 1):
        text += f"; one {plural.removesuffix('s')}: variation between {BETWEEN.get(plural, plural)} is not in it"
    few = [plural for plural, n in counts.items() if 1 < n < FEW]
    return text + (f"; so few {' and '.join(few)} make it too narrow." if few else ".")
