"""House style of the figures: colours, markers, sizes, notes. Without pyplot, so that nothing global is left behind."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from vaepipe.datasets.registry import DATASETS

FAMILIES = ("ae", "vae", "beta-vae", "beta-tcvae", "seatbelt")
USUAL = ("vae", "beta-vae", "beta-tcvae")
"""Families of the seed; a figure says which of them the study lacks."""
LINES = ("beta-vae", "beta-tcvae", "seatbelt")
"""Families that vary with β."""


class Families(dict):
    """By family; one that was trained elsewhere gets what ``other`` makes of its name."""

    def __init__(self, known: dict, other):
        super().__init__(known)
        self.other = other

    def __missing__(self, family: str):
        return self.other(family)


NAMES = Families({"ae": "AE", "vae": "VAE", "beta-vae": "β-VAE", "beta-tcvae": "β-TCVAE", "seatbelt": "Seatbelt"}, str)
# blue, vermilion and green of Okabe & Ito 2008, told apart by all common kinds of colour vision; markers serve grey prints
OTHERS = ("#CC79A7", "#E69F00", "#56B4E9")
COLOURS = Families(
    {"ae": "#999999", "vae": "#222222", "beta-vae": "#0072B2", "beta-tcvae": "#D55E00", "seatbelt": "#009E73"},
    lambda name: OTHERS[sum(name.encode()) % len(OTHERS)],
)
MARKERS = Families({"ae": "x", "vae": "s", "beta-vae": "o", "beta-tcvae": "^", "seatbelt": "D"}, lambda name: "P")


def present(names) -> list[str]:
    """The families among ``names``: ours in their order, then those trained elsewhere by name."""
    found = set(names)
    return [f for f in FAMILIES if f in found] + sorted(found.difference(FAMILIES))


GREY = "#666666"
SMALL = {"fontsize": 5.8, "color": GREY, "linespacing": 1.25}
"""Look of notes."""
COLUMN = 3.4
"""Width of a column of a printed page, inches."""

RC = {
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
# nothing that differs between two runs on the same input
METADATA = {".pdf": {"Creator": None, "Producer": None, "CreationDate": None}, ".png": {"Software": None}}


class Page(Figure):
    """A figure that carries the numbers it shows, as rows of the table that is written beside it, and the least height of its
    axes in inches, to which long notes may shrink them."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.rows: list[dict] = []
        self.least = 0.0


def house(draw: Callable) -> Callable:
    """Decorator: run under the house's settings and matplotlib's defaults, not the user's matplotlibrc."""

    @functools.wraps(draw)
    def wrapped(*args, **kwargs):
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(RC)
            return draw(*args, **kwargs)

    return wrapped


@house
def save(figure: Figure, path, suffix: str) -> None:
    """Write a figure; the same figure gives the same bytes, whatever it was written as before. It is laid out once."""
    with matplotlib.rc_context({"figure.constrained_layout.use": False}):  # else saving would give it a new layout engine
        layout = figure.get_layout_engine()
        if layout and figure.axes:
            layout.execute(figure)
            if short := _short(figure):
                figure.set_figheight(figure.get_figheight() + short)
                layout.execute(figure)
        figure.set_layout_engine(None)
        figure.savefig(path, format=suffix[1:], metadata=METADATA[suffix])


def _short(figure: Page) -> float:
    """Inches that a page lacks for the least height of its axes."""
    if not figure.least:
        return 0.0
    lowest = min(ax.get_position().height for ax in figure.axes) * figure.get_figheight()
    return max(0.0, figure.least - lowest) * figure.axes[0].get_gridspec().nrows


def base(family: str) -> str:
    """The family whose model at β = 1 a family's line starts from: the VAE, but for the hierarchical family its own."""
    return family if family == "seatbelt" else "vae"


def things(dataset: str) -> str:
    """What a row of a data set is, plural."""
    return "points" if dataset in DATASETS and not DATASETS[dataset].images else "images"


def count(n: int, plural: str) -> str:
    return f"{n:,} {plural.removesuffix('s') if n == 1 else plural}"


def short(value: float) -> str:
    """Three significant digits; a power of ten only where it is shorter."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if 1000 <= abs(rounded) < 1e6 else f"{value:#.3g}".rstrip(".")


def panels(n: int, height: float) -> tuple[Page, list[Axes]]:
    """A figure of n panels, one column of a page wide each, at most two beside each other; ``height`` of each in inches."""
    columns = min(n, 2)
    rows = -(-n // columns)
    figure = Page(figsize=(COLUMN * columns, height * rows + 0.25))
    figure.least = height / 2
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[n:]:
        ax.remove()
    return figure, list(axes[:n])


def note(ax: Axes, text: str, *, below: float = 31, width: int = 63) -> None:
    """Small grey text under the axes, ``below`` points under the axis line, wrapped at ``width`` characters."""
    text = "\n".join(textwrap.fill(line, width) for line in text.splitlines())
    ax.annotate(text, (0, 0), (0, -below), "axes fraction", "offset points", va="top", gid="note", **SMALL)


def legend(figure: Figure, handles: dict[str, object]) -> None:
    """One legend above all panels, label → artist."""
    columns = len(handles) if figure.get_figwidth() > COLUMN or len(handles) < 4 else 2
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper center", ncols=columns, handlelength=1.8, columnspacing=1.2
    )


def message(text: str) -> Page:
    """A figure that only says why there is nothing to show."""
    figure = Page(figsize=(COLUMN, 1))
    figure.rows.append({"note": text})
    figure.text(0.5, 0.5, textwrap.fill(text, 56), ha="center", va="center", color=GREY, gid="note")
    return figure


def beta_axis(ax: Axes, betas: list[float]) -> None:
    """Ticks at the β of the grid; logarithmic where a linear axis would crowd the small ones."""
    log = bool(betas) and max(betas) / min(betas) > 20
    if log:
        ax.set_xscale("log", base=2)
    ax.set_xticks(betas, [f"{beta:g}" for beta in betas])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("β (log scale)" if log else "β")


def log_ticks(ax: Axes) -> None:
    """Label 1, 2, 5 in plain numbers on a short logarithmic y axis, powers of ten on a long one. Call it after plotting."""
    low, high = ax.get_ylim()
    if high / low < 100:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}" if value < 1e6 else f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def interval(values) -> str:
    """An estimate and its interval; a dash where that could not be made."""
    ends = ("–" if end != end else short(end) for end in values[1:])
    return f"{short(values[0])} [{', '.join(ends)}]"
