"""Axes of the figures: labels, ticks, and what neighbouring panels share."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from vaepipe.figures.style import page_of, size

LOG_HEADS = ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))
"""First digits of the ticks of a logarithmic axis, from a short one to a long one."""


def share(axes: Sequence[Axes], *, y: bool = False) -> None:
    """Write labels that neighbours share once, at the left and at the bottom; with ``y`` the panels of a row
    share their y axis, too."""
    places = {ax: place for ax in axes if (place := ax.get_subplotspec())}
    rows: dict[int, list[Axes]] = {}
    columns: dict[int, list[Axes]] = {}
    for ax, place in places.items():
        rows.setdefault(place.rowspan.start, []).append(ax)
        columns.setdefault(place.colspan.start, []).append(ax)
    for row in rows.values():
        if y and len(row) > 1 and len({ax.get_ylabel() for ax in row}) == 1:
            _share_y(row)
        for ax, left in list(zip(row[1:], row))[::-1]:
            if ax.get_ylabel() == left.get_ylabel():
                ax.set_ylabel("")
    for column in columns.values():
        if len({ax.get_xlabel() for ax in column}) == 1:
            for ax in column[:-1]:
                ax.set_xlabel("")


def _share_y(row: Sequence[Axes]) -> None:
    """Give the axes of a row one range and one scale; only the first one has numbers."""
    log = all(ax.get_yscale() == "log" for ax in row)
    for ax in row[1:]:
        if not log:
            ax.set_yscale("linear")
    if not log:
        row[0].set_yscale("linear")
    ends = [ax.get_ylim() for ax in row]
    for ax in row:
        ax.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))
        if log:
            log_ticks(ax)
    for ax in row[1:]:
        ax.tick_params(axis="y", which="both", labelleft=False)


def label_y(ax: Axes, text: str) -> None:
    """Label the y axis in lines that are no longer than the axis is high, and say if it is logarithmic."""
    text += " (log)" if ax.get_yscale() == "log" else ""
    ax.set_ylabel(_wrapped(text, ax.get_position().height * page_of(ax).get_figheight()))


def label_x(ax: Axes, text: str) -> None:
    """Label the x axis in lines that are no longer than the axis is wide."""
    ax.set_xlabel(_wrapped(text, ax.get_position().width * page_of(ax).get_figwidth()))


def _wrapped(text: str, inches: float) -> str:
    """Return a text in lines of about the given length."""
    return textwrap.fill(text, max(int(72 * inches / size(8) * 1.35), 12), break_long_words=False)


def beta_axes(axes: Mapping[Axes, Sequence[float]]) -> None:
    """Put ticks at the β of each panel's grid, with one scale for all panels: logarithmic where a linear one
    would crowd the small β.

    Args:
        axes: panel → its β.
    """
    log = any(betas and max(betas) / min(betas) > 6 for betas in axes.values())
    for ax, betas in axes.items():
        if not betas:
            continue
        if log:
            ax.set_xscale("log", base=2)
        x_ticks(ax, {beta: f"{beta:.8g}" for beta in betas})
        ax.set_xlabel("β (log scale)" if log else "β")


def x_ticks(ax: Axes, texts: Mapping[float, str]) -> None:
    """Put ticks with texts at the given places; a text that has no room left of its right neighbour's is left
    out. Call it after plotting."""
    inches = ax.get_position().width * page_of(ax).get_figwidth()
    ends = ax.transAxes.inverted().transform(ax.transData.transform([(x, ax.get_ylim()[0]) for x in texts]))
    shown: dict[float, str] = {}
    free = math.inf
    for (x, text), (place, _) in sorted(zip(texts.items(), ends), reverse=True):
        half = 0.3 * size(7) * (len(text) + 1) / 72 / inches  # a letter is about 0.6 of its size wide
        shown[x] = text if place + half < free else ""
        free = place - half if shown[x] else free
    ax.set_xticks(list(shown)[::-1], list(shown.values())[::-1])
    ax.xaxis.set_minor_locator(NullLocator())


def log_ticks(ax: Axes, way: Literal["x", "y"] = "y", most: int = 6) -> None:
    """Put at most this many ticks on a logarithmic axis, plain numbers on a short one; call it after
    plotting."""
    low, high = ax.get_xlim() if way == "x" else ax.get_ylim()
    axis = ax.xaxis if way == "x" else ax.yaxis
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for step, heads in [(1, heads) for heads in LOG_HEADS] + [(step, (1,)) for step in (2, 3, 5, 10, 20)]:
        every = [head * 10.0**power for power in decades[::step] for head in heads]
        ticks = [tick for tick in every if low <= tick <= high]
        if len(ticks) <= most:
            break
    if len(ticks) < 2:
        ticks = [float(tick) for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]
    plain = high / low < 1e4 and low > 1e-3 and high < 1e6
    text = "{:,.6g}".format if plain else _power_of_ten
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axis.set_minor_formatter(NullFormatter())


def _power_of_ten(value: float) -> str:
    exponent = math.floor(math.log10(value) + 1e-9)
    head = value / 10.0**exponent
    return f"$10^{{{exponent}}}$" if abs(head - 1) < 1e-6 else f"${head:.3g}\\cdot 10^{{{exponent}}}$"
