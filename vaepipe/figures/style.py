"""Style of the figures: sizes, panels, legends. It does without pyplot, which keeps global state."""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaepipe.figures.captions import Caption

GREY = "#666666"
WARNING = "#a00000"


class Look(NamedTuple):
    """Sizes of a figure: text in points, widths in inches."""

    text: float
    column: float
    page: float


LOOKS = {"paper": Look(8, 3.4, 7.0), "slides": Look(15, 6.0, 12.0)}
"""``plot.style`` → sizes. A printed column is 3.4 inches wide, a page of two columns 7."""
MOST_COLUMNS = {"column": 2, "page": 4}
ASPECT = 0.95
"""Height of a panel / its width, where that is neither flat nor tall."""

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "axes.titlesize": "medium",
    "axes.labelsize": "medium",
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#dddddd",
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,  # text stays text
    "svg.fonttype": "none",
    "svg.hashsalt": "vaepipe",  # else identifiers are random
    "savefig.dpi": 300,
}
LINES = {
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "grid.linewidth": 0.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "axes.titlepad": 4,
    "axes.labelpad": 2.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "font.size": 8,
}
"""Sizes in points at text of 8 points; they grow with the text."""
# no dates and no versions: the same input gives the same bytes
METADATA: dict[str, dict[str, Any]] = {
    ".pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    ".png": {"Software": None},
    ".svg": {"Creator": None, "Date": None},
}
PROVENANCE = {".pdf": "Keywords", ".png": "Source", ".svg": "Source"}
"""Field of a file's metadata that says what it was made from."""


class Page(Figure):
    """A figure with the numbers it shows and its caption.

    Attributes:
        rows: of the table that is written beside the figure.
        places: number of a row → its axes and its point in their data.
        caption: text that is written beside it.
        look, columns: sizes, and ``plot.width``.
    """

    def __init__(self, *args: Any, options: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rows: list[dict] = []
        self.places: dict[int, tuple[Axes, float, float]] = {}
        self.caption = Caption()
        self.style: str = options.style if options else "paper"
        self.columns: str = options.width if options else "page"

    @property
    def look(self) -> Look:
        return LOOKS[self.style]

    def numbers(self) -> list[dict]:
        """Return the rows; where any has a point in the picture, with `left` and `top`, its place there as
        shares of width and height."""
        if not self.places:
            return self.rows
        lay_out(self)
        rows = [row | {"left": math.nan, "top": math.nan} for row in self.rows]
        for number, (ax, x, y) in self.places.items():
            ax.apply_aspect()
            left, bottom = self.transFigure.inverted().transform(ax.transData.transform((x, y)))
            rows[number] |= {"left": round(float(left), 4), "top": round(1 - float(bottom), 4)}
        return rows

    def describe(self, title: str, text: str) -> Page:
        """Write the caption's title and text; return the page."""
        self.caption.title, self.caption.text = title, text
        return self

    def line(self, *parts: str) -> None:
        """Write one short grey line at the bottom, of the first parts that fit in it."""
        room, text = int(self.get_figwidth() / self.look.text * 8 * 21), ""
        for part in filter(None, parts):
            longer = f"{text}; {part}" if text else part
            if len(longer.replace("$", "")) <= room:
                text = longer
        self.supxlabel(text, gid="line", x=0.01, ha="left", fontsize=size(6.2), color=GREY)

    def warn(self, texts: Sequence[str]) -> None:
        """Write below the line at the bottom, and in the caption, which models are not correct."""
        if not texts:
            return
        for text in texts:
            self.caption.say("", f"{text}.")
        room = int(self.get_figwidth() / self.look.text * 8 * 21)
        lines = [self.get_supxlabel(), *(textwrap.fill(text, room) for text in texts)]
        joined = "\n".join(filter(None, lines))
        self.supxlabel(joined, gid="line", x=0.01, ha="left", fontsize=size(6.2), color=WARNING)


def add_row(ax: Axes, row: dict, x: float, y: float) -> None:
    """Add a row to the numbers of the page, whose point in the data of the axes is (x, y)."""
    page = page_of(ax)
    if math.isfinite(x) and math.isfinite(y):
        page.places[len(page.rows)] = ax, float(x), float(y)
    page.rows.append(row)


def page_of(ax: Axes) -> Page:
    """Return the page that the axes are on."""
    page = ax.get_figure(root=True)
    if not isinstance(page, Page):
        raise TypeError(f"axes of a figure that is no page: {page!r}")
    return page


def size(points: float) -> float:
    """Return a size in points, given for text of 8 points, at the text size in use."""
    return points * float(matplotlib.rcParams["font.size"]) / 8


def settings(style: str) -> dict[Any, Any]:
    """Return matplotlib's settings for a value of ``plot.style``."""
    return RC | {key: value * LOOKS[style].text / 8 for key, value in LINES.items()}


def styled(draw: Callable) -> Callable:
    """Decorate a function of (data, options) to run with our settings, not with the user's matplotlibrc."""

    @functools.wraps(draw)
    def wrapped(data: Any, options: Any) -> Any:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(settings(options.style))
            figure = draw(data, options)
            if isinstance(figure, Page):
                shown = {row["dataset"] for row in figure.rows if "dataset" in row} or set(data.caveats)
                figure.warn([f"{name}, {caveat}" for name, caveat in data.caveats.items() if name in shown])
            return figure

    return wrapped


def lay_out(figure: Figure) -> None:
    """Give everything its place, once: later changes of the canvas move nothing.

    A second round follows where the first one changes the ticks, or a panel does not fill its place.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings(getattr(figure, "style", "paper")))
        layout = figure.get_layout_engine()
        if layout and figure.axes:
            ticks = _ticks(figure)
            layout.execute(figure)
            if _ticks(figure) != ticks or any(ax.get_aspect() != "auto" for ax in figure.axes):
                layout.execute(figure)
        matplotlib.rcParams["figure.constrained_layout.use"] = False  # else None makes a new engine
        figure.set_layout_engine(None)


def _ticks(figure: Figure) -> list[list[float]]:
    """Return where the axes have their ticks."""
    return [[*axis.get_majorticklocs()] for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]


def save(figure: Figure, path: str | Path | BinaryIO, suffix: str, provenance: str = "") -> None:
    """Write a figure; the same figure gives the same bytes in every order of the formats.

    Args:
        provenance: what it was made from, for the metadata of the file.
    """
    lay_out(figure)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings(getattr(figure, "style", "paper")))
        matplotlib.rcParams["figure.constrained_layout.use"] = False
        metadata = METADATA[suffix] | ({PROVENANCE[suffix]: provenance} if provenance else {})
        figure.savefig(path, format=suffix[1:], metadata=metadata)


def width_of(options: Any) -> float:
    """Return the width of a page, inches."""
    return float(getattr(LOOKS[options.style], options.width))


def panels(
    names: Sequence[Mapping[str, Any]], options: Any, aspect: float = ASPECT
) -> tuple[Page, list[Axes]]:
    """Return a page with one panel for each name, and its axes: a row for each data set where all have as
    many panels, otherwise rows as full as possible.

    Args:
        names: column → value that names the panel; ``dataset`` decides the row.
        aspect: height of a panel / its width.
    """
    columns = _columns([str(name.get("dataset", "")) for name in names], MOST_COLUMNS[options.width])
    rows = -(-len(names) // columns)
    width, unit = width_of(options), LOOKS[options.style].text / 8
    each = width / columns
    height = min(max(aspect * each, 1.75 * unit), 2.6 * unit)
    page = Page(figsize=(width, rows * height + 0.5 * unit), options=options)
    axes = page.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(names) :]:
        ax.set_axis_off()
        ax.set_gid("hole")
    return page, list(axes[: len(names)])


def _columns(datasets: Sequence[str], most: int) -> int:
    """Return the number of columns for panels of these data sets."""
    counts = {datasets.count(name) for name in datasets}
    if len(counts) == 1 and counts != {1} and max(counts) <= most:
        return max(counts)
    fitting = range(min(len(datasets), most), 1, -1)
    return min(fitting, key=lambda columns: -len(datasets) % columns, default=1)


def legend(figure: Page, handles: Mapping[str, Artist]) -> None:
    """Draw one legend, from label → artist: in an empty place of the grid, else above all panels."""
    handles = {name: artist for name, artist in handles.items() if name}
    if not handles:
        return
    holes = [ax for ax in figure.axes if ax.get_gid() == "hole"]
    if holes:
        holes[0].legend(list(handles.values()), handles.keys(), loc="center", handlelength=1.8)
        return
    lengths = sorted((len(name) + 7 for name in handles), reverse=True)
    room = figure.get_figwidth() * 15.5 * 8 / figure.look.text
    columns = max(
        n
        for n in range(1, len(handles) + 1)
        if n == 1 or n * lengths[0] <= room or (sum(lengths[:n]) <= room and n == len(handles))
    )
    figure.legend(
        list(handles.values()),
        handles.keys(),
        loc="outside upper center",
        ncols=columns,
        handlelength=1.8,
        columnspacing=1.2,
    )


def message(text: str, options: Any) -> Page:
    """Return a page with a text in place of a figure: what the data lack, which no configuration tells."""
    figure = Page(figsize=(LOOKS[options.style].column, 0.6 * LOOKS[options.style].text / 8), options=options)
    figure.rows.append({"note": text})
    figure.caption.say("", text)
    figure.text(0.5, 0.5, "Nothing to show: see the caption", ha="center", va="center", color=GREY)
    return figure
