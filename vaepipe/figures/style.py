"""Style of the figures: sizes, notes, legends, axes. It does without pyplot, which keeps global state."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

GREY = "#666666"
SMALL: dict[str, Any] = {"fontsize": 5.8, "color": GREY, "linespacing": 1.25}
"""Look of notes."""
COLUMN = 3.4
"""Width of a column of a printed page, inches."""

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,  # text stays text
    "savefig.dpi": 200,
}
# no dates and no versions: the same input gives the same bytes
METADATA: dict[str, dict[str, Any]] = {
    ".pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    ".png": {"Software": None},
}


class Page(Figure):
    """A figure that carries the numbers it shows.

    Attributes:
        rows: of the table that is written beside the figure.
        least_height: of its axes, inches; long notes shrink them no further.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rows: list[dict] = []
        self.least_height = 0.0


def page_of(ax: Axes) -> Page:
    """Return the page that the axes are on."""
    page = ax.figure
    if not isinstance(page, Page):
        raise TypeError(f"axes of a figure that is no page: {page!r}")
    return page


def styled(draw: Callable) -> Callable:
    """Decorate a function to run with `RC` on matplotlib's defaults, not with the user's matplotlibrc."""

    @functools.wraps(draw)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(RC)
            return draw(*args, **kwargs)

    return wrapped


@styled
def save(figure: Page, path: str | Path | BinaryIO, suffix: str) -> None:
    """Write a figure, laid out once: the same figure gives the same bytes in every order of the formats."""
    with matplotlib.rc_context(
        {"figure.constrained_layout.use": False}
    ):  # else saving creates a new layout engine
        layout = figure.get_layout_engine()
        if layout and figure.axes:
            layout.execute(figure)
            if missing := _missing_height(figure):
                figure.set_figheight(figure.get_figheight() + missing)
                layout.execute(figure)
        figure.set_layout_engine(None)
        figure.savefig(path, format=suffix[1:], metadata=METADATA[suffix])


def _missing_height(figure: Page) -> float:
    """Return the inches that a page lacks for the least height of its axes."""
    if not figure.least_height:
        return 0.0
    lowest = min(ax.get_position().height for ax in figure.axes) * figure.get_figheight()
    grid = figure.axes[0].get_gridspec()
    rows = grid.nrows if grid else 1
    return max(0.0, figure.least_height - lowest) * rows


def panels(n: int, height: float) -> tuple[Page, list[Axes]]:
    """Return a page of n panels and its axes: each panel is a column wide, at most two stand beside each
    other.

    Args:
        height: of a panel, inches.
    """
    columns = min(n, 2)
    rows = -(-n // columns)
    figure = Page(figsize=(COLUMN * columns, height * rows + 0.25))
    figure.least_height = height / 2
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[n:]:
        ax.remove()
    return figure, list(axes[:n])


def note(ax: Axes, text: str, *, below: float = 31, width: int = 63) -> None:
    """Write small grey text under the axes, ``below`` points under the axis line, wrapped at ``width``
    characters."""
    text = "\n".join(textwrap.fill(line, width) for line in text.splitlines())
    ax.annotate(text, (0, 0), (0, -below), "axes fraction", "offset points", va="top", gid="note", **SMALL)


def legend(figure: Figure, handles: Mapping[str, Artist]) -> None:
    """Draw one legend above all panels, from label → artist."""
    columns = min(len(handles), 5) if figure.get_figwidth() > COLUMN or len(handles) < 4 else 2
    figure.legend(
        list(handles.values()),
        handles.keys(),
        loc="outside upper center",
        ncols=columns,
        handlelength=1.8,
        columnspacing=1.2,
    )


def message(text: str) -> Page:
    """Return a page with a text in place of a figure: why there is nothing to show."""
    figure = Page(figsize=(COLUMN, 1))
    figure.rows.append({"note": text})
    figure.text(0.5, 0.5, textwrap.fill(text, 56), ha="center", va="center", color=GREY, gid="note")
    return figure


def beta_axis(ax: Axes, betas: list[float]) -> None:
    """Put ticks at the β of the grid; the axis is logarithmic where a linear one would crowd the small β."""
    log = bool(betas) and max(betas) / min(betas) > 20
    if log:
        ax.set_xscale("log", base=2)
    ax.set_xticks(betas, [f"{beta:g}" for beta in betas])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("β (log scale)" if log else "β")


def log_ticks(ax: Axes) -> None:
    """Label 1, 2, 5 in plain numbers on a short logarithmic y axis, powers of ten on a long one; call it
    after plotting."""
    low, high = ax.get_ylim()
    if high / low < 100:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:,g}" if value < 1e6 else f"{value:g}")
        )
    ax.yaxis.set_minor_formatter(NullFormatter())
