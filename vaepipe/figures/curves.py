"""What the figures against β share: lines with bands, and pages of panels."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

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
from vaepipe.figures import flags, notes, published, scales, style
from vaepipe.models.family import find_family

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

Value = TypeVar("Value")
Where = Mapping[str, Any]
"""Columns and values that name a panel, first of all ``dataset``; they start its rows of the page's table."""
More = Callable[[Axes, pd.DataFrame], tuple[dict[str, Artist], str]]
"""(axes, rows of the panel) → further artists by legend label, and sentences for the caption."""
BALLS = {"l2": "L₂ ball", "linf": "L∞ ball"}


class Panel(NamedTuple):
    """One panel against β: its name, its rows, what is averaged, and the published quantity behind it."""

    where: Where
    rows: pd.DataFrame
    measure: Measure
    quantity: str = ""
    more: More | None = None


def page(panels: Sequence[Panel], options: Plot, share_y: bool = True) -> style.Page:
    """Return a page of panels against β; with ``share_y`` those of a row that have one label share their y
    axis."""
    page, axes = style.panels([panel.where for panel in panels], options)
    handles: dict[str, Artist] = {}
    betas = {}
    for ax, panel in zip(axes, panels):
        means, artists = _draw(ax, panel, options.resamples)
        handles |= artists
        betas[ax] = sorted({beta for _, beta in means if beta})
        scales.label_y(ax, panel.measure.label)
    scales.beta_axes(betas)
    write_titles(axes, [panel.where for panel in panels])
    scales.share(axes, y=share_y)
    style.legend(page, handles)
    first = panels[0]
    same = all(panel.measure.rows == first.measure.rows for panel in panels)
    size = notes.n_per_point((panel.rows for panel in panels), first.measure.rows) if same else ""
    bands = {notes.band_over(panel.rows, panel.measure.clusters) for panel in panels}
    band = bands.pop() if len(bands) == 1 else "bands: 95 % intervals"
    page.line(shared_name([panel.where for panel in panels]), size, band)
    return page


def _draw(ax: Axes, panel: Panel, resamples: int) -> tuple[Means, dict[str, Artist]]:
    """Draw a panel and write its sentences; return the means and artists by legend label."""
    where, frame, measure, quantity, more = panel
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
        scales.log_ticks(ax)
    pooled = {}
    if measure.over is None:
        pooled = {
            key: pooled_interval(rows[measure.column]) for key, rows in frame.groupby(["family", "beta"])
        }
    reference = published.note(quantity, where, means) if quantity else ""
    text = notes.describe(frame, means, measure, resamples, log)
    say(ax, where, text, notes.pooling(means, pooled), line, reference, flags.note(frame))
    sizes = frame.groupby(["family", "beta"]).size()
    for (family, beta), interval in means.items():
        x = beta or math.nan  # a model without β is a line across
        row = {
            **where,
            "quantity": measure.column,
            "family": family,
            "beta": beta,
            "rows": int(sizes[family, beta]),
        }
        ends = dict(zip(("pooled_low", "pooled_high"), pooled.get((family, beta), ())[1:]))
        count = flagged.get((family, beta), (0, 0))[0]
        row |= interval._asdict() | ends | {"flagged": count}
        style.add_row(ax, row, x, interval.estimate)
    return means, handles | artists


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
        ax.vlines([1.0], low, high, color=vae.colour, linewidth=style.size(1.2), zorder=3)
        handles[f"{vae.label} (β = 1)"] = artist
    for family in (family for family, beta in means if beta == 0):
        handles[f"{label(family)} (no β)"] = _across(ax, family, means[family, 0.0])
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
        ax.vlines(betas, *ends, color=colour, linewidth=style.size(1.2))
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
        quantity, more: as in `Panel`.
    """
    panels = []
    for key, rows in frame.groupby(by, sort=False):
        where = dict(zip(by, key))
        panels.append(
            Panel(where, rows, measure(where, rows) if callable(measure) else measure, quantity, more)
        )
    return page(panels, options) if panels else style.message(empty, options)


def words(column: str, value: Any) -> str:
    """Return the value of a column that names a panel, as people write it."""
    if column == "loss":
        return find_loss(value).title
    if column == "ball":
        return BALLS[value]
    return {"beta": "β = {:g}", "d_z": "d_z = {}"}.get(column, "{}").format(value)


def name_of(where: Where) -> str:
    """Return the name of a panel: "digits, latent KL attack"."""
    return ", ".join(words(*item) for item in where.items())


def shared_name(wheres: Sequence[Where]) -> str:
    """Return what several panels have in common: "digits"; empty for one panel, which names itself."""
    same = {c: v for c, v in wheres[0].items() if all(where.get(c) == v for where in wheres)}
    return name_of(same) if len(wheres) > 1 else ""


def write_titles(axes: Sequence[Axes], wheres: Sequence[Where]) -> None:
    """Write over each panel what tells it from the others; over a single one all that names it."""
    alone = len(wheres) == 1
    for ax, where in zip(axes, wheres):
        own = {c: v for c, v in where.items() if alone or any(other.get(c) != v for other in wheres)}
        text = name_of(own).replace("d_z", "$d_z$")
        place = ax.get_subplotspec()
        inches = style.page_of(ax).get_figwidth() / (place.get_gridspec().ncols if place else 1)
        room = 72 * inches / (0.6 * style.size(8))
        ax.set_title(textwrap.fill(text, max(int(room), 12)))


def say(ax: Axes, where: Where, *texts: str) -> None:
    """Add sentences about a panel to the page's caption."""
    style.page_of(ax).caption.say(name_of(where), notes.joined(texts))


def with_unit(text: str, loss: str) -> str:
    """Return the label of an axis with the unit of a loss."""
    return f"{text}, {find_loss(loss).unit}"


def by_attack(
    trials: pd.DataFrame,
    draw_panel: Callable[[Axes, pd.DataFrame, dict[str, str], Plot], dict[str, Artist]],
    options: Plot,
    empty: str,
    by: Sequence[str] = ("dataset", "loss"),
) -> style.Page:
    """Return a page with a panel per data set and loss, or per group of ``by``, each at one β.

    The rows of a panel are those of the models at the β nearest to ``options.beta``, and of the models
    without β.

    Args:
        draw_panel: (axes, rows, values of ``by``, options) → artists by legend label.
        empty: text of the page where there is no row.
    """
    groups = [(dict(zip(by, key)), rows) for key, rows in trials.groupby(list(by), sort=False)]
    if not groups:
        return style.message(empty, options)
    page, axes = style.panels([where for where, _ in groups], options)
    handles: dict[str, Artist] = {}
    names: list[Where] = []
    for ax, (where, rows) in zip(axes, groups):
        shown = at_one_beta(rows, options.beta)
        handles |= draw_panel(ax, shown, where, options)
        names.append(where | {"beta": beta_of(shown)})
    write_titles(axes, names)
    scales.share(axes, y=True)
    style.legend(page, handles)
    page.line(shared_name(names), *notes.in_short(at_one_beta(groups[0][1], options.beta)))
    return page


def at_one_beta(rows: pd.DataFrame, wanted: float) -> pd.DataFrame:
    """Return the rows of the models at the β nearest to the one that is wanted, and of those without β."""
    beta = nearest(set(_betas(rows)) or {1.0}, wanted)
    return rows[rows["beta"].isin((0, beta)) | (rows["family"] == "vae")]


def beta_of(rows: pd.DataFrame) -> float:
    """Return the β of the models that have one, among the rows of `at_one_beta`."""
    return max(_betas(rows), default=1.0)


def _betas(rows: pd.DataFrame) -> Iterable[float]:
    return (float(beta) for beta in rows.loc[rows["family"] != "vae", "beta"].unique() if beta)
