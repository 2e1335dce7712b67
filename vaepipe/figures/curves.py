"""What the figures against β share: lines with bands, and pages of panels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vaepipe.analysis.families import at_beta_one, label, varying_with_beta
from vaepipe.analysis.intervals import Interval, pooled_interval
from vaepipe.analysis.means import Means, Measure
from vaepipe.analysis.selection import nearest
from vaepipe.attacks.loss import find_loss
from vaepipe.figures import flags, notes, published, style
from vaepipe.models.family import find_family

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

Value = TypeVar("Value")
More = Callable[[Axes, pd.DataFrame], tuple[dict[str, Artist], str]]
"""(axes, rows of the panel) → further artists by legend label, and a line for the note."""


def panel(
    ax: Axes,
    frame: pd.DataFrame,
    measure: Measure,
    resamples: int,
    where: Mapping[str, str],
    quantity: str = "",
    more: More | None = None,
) -> dict[str, Artist]:
    """Draw a measure of one panel's rows against β and write its note; return artists by legend label.

    Args:
        where: columns that name the panel, first of all ``dataset``; they start its rows of the page's table.
        quantity: of `published`, whose values for this data set and loss stand behind ours in grey.
    """
    means = measure.means(frame, resamples)
    if measure.log and any(interval.estimate > 0 for interval in means.values()):
        ax.set_yscale("log")
    handles = published.draw(ax, quantity, where, means) if quantity else {}
    handles = draw_curves(ax, means) | handles
    flagged = flags.flagged(frame)
    for family, beta in flagged:
        x = beta or max((b for _, b in means), default=0) or 1.0  # a model without β is a line across
        flags.mark(ax, (family, beta), x, means[family, beta].estimate)
    artists, line = more(ax, frame) if more else ({}, "")
    log = ax.get_yscale() == "log"
    if log:
        style.log_ticks(ax)
    pooled = {}
    if measure.over is None:
        pooled = {
            key: pooled_interval(rows[measure.column]) for key, rows in frame.groupby(["family", "beta"])
        }
    reference = published.note(quantity, where, means) if quantity else ""
    text = notes.describe(frame, means, measure, resamples, log)
    style.note(ax, notes.joined([text, notes.pooling(means, pooled), line, reference, flags.note(frame)]))
    sizes = frame.groupby(["family", "beta"]).size()
    for (family, beta), interval in means.items():
        row = {
            **where,
            "quantity": measure.column,
            "family": family,
            "beta": beta,
            "rows": int(sizes[family, beta]),
        }
        ends = dict(zip(("pooled_low", "pooled_high"), pooled.get((family, beta), ())[1:]))
        count = flagged.get((family, beta), (0, 0))[0]
        style.page_of(ax).rows.append(row | interval._asdict() | ends | {"flagged": count})
    return handles | artists


def line_over_beta(points: Mapping[tuple[str, float], Value], family: str) -> tuple[list[float], list[Value]]:
    """Return (β, values) of a family's line, β increasing, from (family, β) → value.

    A family that shares β = 1 starts at the VAE's point. Both are empty where only the VAE was trained.
    """
    if not any(name == family for name, _ in points):
        return [], []
    start = (at_beta_one(family), 1.0)
    line = {beta: value for (name, beta), value in points.items() if name == family or (name, beta) == start}
    return sorted(line), [line[beta] for beta in sorted(line)]


def draw_curves(ax: Axes, means: Means) -> dict[str, Artist]:
    """Draw every family's line with its band, the VAE as a point; return artists by legend label."""
    handles: dict[str, Artist] = {}
    for family in varying_with_beta(family for family, _ in means):
        handles[label(family)] = _line(ax, family, *line_over_beta(means, family))
    if ("vae", 1.0) in means:
        estimate, low, high = means["vae", 1.0]
        vae = find_family("vae")
        (artist,) = ax.plot([1.0], [estimate], vae.marker, color=vae.colour, gid="vae", zorder=3)
        ax.vlines([1.0], low, high, color=vae.colour, linewidth=1.2, zorder=3)
        handles[f"{vae.label} (β = 1)"] = artist
    for family in (family for family, beta in means if beta == 0):
        handles[f"{label(family)} (no β)"] = _across(ax, family, means[family, 0.0])
    if betas := sorted({beta for _, beta in means if beta}):
        style.beta_axis(ax, betas)
    return handles


def _line(ax: Axes, family: str, betas: list[float], intervals: list[Interval]) -> Line2D:
    """Draw one family's line with its band."""
    colour, marker = find_family(family).colour, find_family(family).marker
    # white edges and some transparency keep two lines that lie on each other apart
    look: dict[str, Any] = {
        "color": colour,
        "marker": marker,
        "markeredgecolor": "white",
        "markeredgewidth": 0.4,
    }
    (artist,) = ax.plot(betas, [interval.estimate for interval in intervals], gid=family, **look)
    ends = np.array([[interval.low, interval.high] for interval in intervals]).T
    band = ax.fill_between(betas, *ends, color=colour, alpha=0.2, linewidth=0)
    band.set_gid(f"band {family}")
    if len(betas) == 1:
        ax.vlines(betas, *ends, color=colour, linewidth=1.2)
    return artist


def _across(ax: Axes, family: str, interval: Interval) -> Line2D:
    """Draw a line across the axes for a model without β; one that was trained elsewhere has a band, too."""
    colour, trained_here = find_family(family).colour, find_family(family).trained_here
    dashes = (4, 2) if trained_here else (4, 2, 1, 2)
    if not trained_here and np.isfinite([interval.low, interval.high]).all():
        ax.axhspan(interval.low, interval.high, color=colour, alpha=0.12, linewidth=0)
    return ax.axhline(interval.estimate, color=colour, linestyle=(0, dashes), linewidth=1, gid=family)


def against_beta(
    frame: pd.DataFrame,
    by: list[str],
    measure: Callable[[dict[str, str], pd.DataFrame], Measure] | Measure,
    options: Plot,
    *,
    empty: str,
    quantity: str = "",
    more: More | None = None,
) -> style.Page:
    """Return a page with one panel for each group of ``by`` (first ``dataset``): the measure against β.

    Args:
        measure: the same for all panels, or a function of (values of ``by``, rows) that returns the panel's.
        empty: text of the page where there is no row.
        quantity, more: as in `panel`.
    """
    groups = list(frame.groupby(by, sort=False))
    if not groups:
        return style.message(empty)
    page, axes = style.panels(len(groups), 2.9)
    handles: dict[str, Artist] = {}
    for ax, (key, rows) in zip(axes, groups):
        where = dict(zip(by, key))
        chosen = measure(where, rows) if callable(measure) else measure
        handles |= panel(ax, rows, chosen, options.resamples, where, quantity, more)
        ax.set_title(title(where))
        label_y(ax, chosen.label)
    style.legend(page, handles)
    return page


def label_y(ax: Axes, text: str) -> None:
    """Label the y axis, and name its scale if it is logarithmic: in the first line, as the unit in a second
    one is long."""
    if ax.get_yscale() == "log":
        first, comma, unit = text.partition(",\n")
        text = f"{first} (log scale){comma}{unit}"
    ax.set_ylabel(text)


def title(where: Mapping[str, str]) -> str:
    """Return the title of a panel from its data set, and its loss and ball if it has them."""
    words = {"loss": "attack {}", "ball": "{} ball"}
    return ", ".join(words.get(name, "{}").format(value) for name, value in where.items())


def with_unit(text: str, loss: str) -> str:
    """Return the label of an axis with the unit of a loss; a long unit takes a line of its own."""
    unit = find_loss(loss).unit
    return f"{text}, {unit}" if len(unit) < 10 else f"{text},\n{unit}"


def by_attack(
    trials: pd.DataFrame,
    draw_panel: Callable[[Axes, pd.DataFrame, dict[str, str], float, Plot], dict[str, Artist]],
    options: Plot,
    height: float,
    empty: str,
    by: Sequence[str] = ("dataset", "loss"),
) -> style.Page:
    """Return a page with a panel per data set and loss, or per group of ``by``, each at one β.

    The rows of a panel are those of the models at the β nearest to ``options.beta``, and of the models
    without β.

    Args:
        draw_panel: (axes, rows, values of ``by``, β, options) → artists by legend label.
        height: of a panel, inches.
        empty: text of the page where there is no row.
    """
    groups = list(trials.groupby(list(by), sort=False))
    if not groups:
        return style.message(empty)
    page, axes = style.panels(len(groups), height)
    handles: dict[str, Artist] = {}
    for ax, (key, rows) in zip(axes, groups):
        betas = set(rows.loc[rows["family"] != "vae", "beta"].unique()) - {0}
        beta = nearest(betas or {1.0}, options.beta)
        rows = rows[rows["beta"].isin((0, beta)) | (rows["family"] == "vae")]
        handles |= draw_panel(ax, rows, dict(zip(by, key)), beta, options)
    style.legend(page, handles)
    return page
