"""What the figures against β share: statistics with bands, and the sentences that say what these are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vaepipe.analysis.intervals import Interval, clustered_interval, pooled_interval
from vaepipe.figures import flags, published, style
from vaepipe.figures.registry import nearest

Points = dict[tuple[str, float], Interval]
BETWEEN = {"training seeds": "trainings"}
FEW = 4
"""With fewer clusters than this Student's t makes an interval very wide."""
TRIAL_AXES = {"pair": "pairs", "lambda": "λ", "d_z": "$d_z$", "seed": "seeds"}
TRIAL_CLUSTERS = {"pair": "pairs", "seed": "training seeds"}


@dataclass(frozen=True)
class Measure:
    """A number of every row, averaged per (family, β).

    ``over``: a column that divides it, as a ratio of means. ``log``: its interval is symmetric in the logarithm, and its axis
    logarithmic where all values are positive. ``rows``, ``averaged``, ``clusters``: words for the note, see `describe`.
    """

    column: str
    label: str
    over: str | None = None
    log: bool = False
    rows: str = "trials"
    averaged: Mapping[str, str] = field(default_factory=lambda: TRIAL_AXES)
    clusters: Mapping[str, str] = field(default_factory=lambda: TRIAL_CLUSTERS)

    def interval(self, rows, resamples: int) -> Interval:
        """The mean over ``rows`` with its clustered 95 % interval."""
        ids = {name: rows[name] for name in self.clusters}
        options = {"resamples": resamples, "log": self.log}
        if self.over:
            options |= {"against": rows[self.over], "compare": "ratio"}
        return clustered_interval(rows[self.column], ids, **options)

    def points(self, frame, resamples: int) -> Points:
        """(family, β) → its interval."""
        return {key: self.interval(rows, resamples) for key, rows in frame.groupby(["family", "beta"])}


def panel(
    ax: Axes, frame, measure: Measure, resamples: int, where: dict, quantity: str = "", more: Callable | None = None
) -> dict[str, Line2D]:
    """Draw a measure of one panel's rows against β; returns artists by legend label.

    Args:
        where: columns that say which panel it is, first of all ``dataset``; they start its rows of the page's table.
        quantity: of `published`, whose values for this data set and loss stand behind ours in grey.
        more: (ax, rows of the panel) → further artists by label, and a line for the note.
    """
    found = measure.points(frame, resamples)
    if measure.log and any(i.estimate > 0 for i in found.values()):
        ax.set_yscale("log")
    handles = published.draw(ax, quantity, where, found) if quantity else {}
    handles = draw_curves(ax, found) | handles
    weak = flags.flagged(frame)
    for family, beta in weak:
        x = beta or max((b for _, b in found), default=0) or 1.0  # a model without β is a line across
        flags.mark(ax, (family, beta), x, found[family, beta].estimate)
    artists, line_ = more(ax, frame) if more else ({}, "")
    if ax.get_yscale() == "log":
        style.log_ticks(ax)
    text = describe(frame, found, measure, resamples, log=ax.get_yscale() == "log")
    reference = published.said(quantity, where, found) if quantity else ""
    pooled = {} if measure.over else {key: pooled_interval(its[measure.column]) for key, its in frame.groupby(["family", "beta"])}
    style.note(ax, "\n".join(filter(None, [text, _pooled_said(found, pooled), line_, reference, flags.said(frame)])))
    sizes = frame.groupby(["family", "beta"]).size()
    for (family, beta), interval in found.items():
        row = {**where, "quantity": measure.column, "family": family, "beta": beta, "rows": int(sizes[family, beta])}
        ends = dict(zip(("pooled_low", "pooled_high"), pooled.get((family, beta), ())[1:]))
        ax.figure.rows.append({**row, **interval._asdict(), **ends, "flagged": weak.get((family, beta), (0,))[0]})
    return handles | artists


def _pooled_said(found: Points, pooled: Points) -> str:
    """How much narrower the seed's pooled intervals are, the median over the points; empty where there are none."""
    widths = [(pooled[key].high - pooled[key].low, i.high - i.low) for key, i in found.items() if key in pooled]
    shares = [narrow / wide for narrow, wide in widths if wide > 0 and np.isfinite(narrow)]
    return f"Pooled rows, as in the seed, would make it {np.median(shares):.2g} × as wide (in the table)." if len(shares) else ""


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
            if len(betas) == 1:
                ax.vlines(betas, *ends, color=colour, linewidth=1.2)
            handles[style.NAMES[family]] = artist
    if ("vae", 1.0) in found:
        estimate, low, high = found["vae", 1.0]
        (artist,) = ax.plot([1.0], [estimate], style.MARKERS["vae"], color=style.COLOURS["vae"], gid="vae", zorder=3)
        ax.vlines([1.0], low, high, color=style.COLOURS["vae"], linewidth=1.2, zorder=3)
        handles["VAE (β = 1)"] = artist
    for family in (family for family, beta in found if beta == 0):
        handles[style.NAMES[family] + " (no β)"] = _across(ax, family, found[family, 0.0])
    if betas := sorted({beta for _, beta in found if beta}):
        style.beta_axis(ax, betas)
    return handles


def _across(ax: Axes, family: str, interval: Interval) -> Line2D:
    """A line across the axes for a model without β: the autoencoder, and with its band what was trained elsewhere."""
    colour, ours = style.COLOURS[family], family in style.FAMILIES
    if not ours and np.isfinite([interval.low, interval.high]).all():
        ax.axhspan(interval.low, interval.high, color=colour, alpha=0.12, linewidth=0)
    return ax.axhline(interval.estimate, color=colour, linestyle=(0, (4, 2) if ours else (4, 2, 1, 2)), linewidth=1, gid=family)


def describe(frame, found: Points, measure: Measure, resamples: int, log: bool = False) -> str:
    """How many rows each point has, what the band holds and what it does not, what is missing or off the axis.

    The measure's ``averaged`` and ``clusters`` map columns to the plural of the things that are averaged over, or resampled.
    """
    sizes = frame.groupby(["family", "beta"]).size()
    counts = {name: frame[name].nunique() for name in measure.averaged}
    n = f"{sizes.max():,}" if sizes.min() == sizes.max() else f"{sizes.min():,} to {sizes.max():,}"
    product = " × ".join(style.count(counts[name], plural) for name, plural in measure.averaged.items())
    full = np.prod([counts[name] for name in measure.averaged]) == sizes.min()
    lines = [f"n = {n} {measure.rows} per point ({'' if full else 'at most '}{product})."]
    lines += [lambda_range(frame)] if "lambda" in measure.averaged else []
    lines.append(resampled(frame, measure.clusters, resamples, "band"))
    lines += filter(None, [missing(frame, found), holes(frame, measure.column)])
    drawn = {key: np.isfinite(i.estimate) and (i.estimate > 0 or not log) for key, i in found.items()}
    wild = [f"{style.NAMES[f]} at β = {b:g} ({found[f, b].estimate:g})" for f, b in found if not drawn[f, b]]
    lines += [f"Off the axis, not drawn: {', '.join(wild)}."] if wild else []
    return "\n".join(lines)


def lambda_range(frame) -> str:
    """The range of λ of a frame of trials, in powers of two where these are whole."""
    low, high = frame["lambda"].min(), frame["lambda"].max()

    def power(value: float) -> str:
        exponent = np.log2(value)
        return f"$2^{{{exponent:.0f}}}$" if abs(exponent - round(exponent)) < 1e-6 else f"{value:.3g}"

    return f"λ from {power(low)} to {power(high)}." if high > low else f"λ = {power(low)} alone."


def missing(frame, found: Mapping) -> str:
    """What the study lacks of the seed's families, and cells of the grid without rows."""
    absent = [style.NAMES[f] for f in style.USUAL[1:] if not any(family == f for family, _ in found)]
    absent += [] if ("vae", 1.0) in found else ["β = 1"]
    lines = [f"Not in this study: {', '.join(absent)}."] if absent else []
    there = set(frame.groupby(["family", "beta", "d_z", "seed"]).groups)
    grid = [(f, b, d, s) for f, b in found if b for d in frame["d_z"].unique() for s in frame["seed"].unique()]
    gone = [f"{style.NAMES[f]} β = {b:g}, $d_z$ = {d}, seed {s}" for f, b, d, s in grid if (f, b, d, s) not in there]
    lines += [f"No rows of {'; '.join(gone[:3])}{f'; and {len(gone) - 3} more' if len(gone) > 3 else ''}."] if gone else []
    return "\n".join(lines)


def holes(frame, column: str) -> str:
    """How many rows have no number, and are left out."""
    empty = int(frame[column].isna().sum())
    return f"Left out: {style.count(empty, 'rows')} without a number." if empty else ""


def resampled(frame, clusters: Mapping[str, str], resamples: int, shown: str) -> str:
    """What was resampled for the intervals, and which variation they therefore lack; ``shown``: band or interval."""
    counts = {plural: frame[name].nunique() for name, plural in clusters.items()}
    moved = [style.count(n, plural) for plural, n in counts.items() if n > 1]
    text = f"95 % {shown}: bootstrap over {' and '.join(moved)}, {resamples:,} resamples, Student's t" if moved else f"No {shown}"
    for plural in (plural for plural, n in counts.items() if n == 1):
        text += f"; one {plural.removesuffix('s')}: variation between {BETWEEN.get(plural, plural)} is not in it"
    few = [plural for plural, n in counts.items() if 1 < n < FEW]
    return text + (f"; so few {' and '.join(few)} make it wide." if few else ".")


def against_beta(
    frame,
    by: list[str],
    measure: Callable[[dict, object], Measure] | Measure,
    options: dict,
    *,
    empty: str,
    quantity="",
    more=None,
) -> style.Page:
    """A page with one panel for each group of ``by`` (first ``dataset``): the measure against β.

    Args:
        measure: or a function that gives it for a panel: (what `by` is there, its rows) → measure.
        empty: what the page says where there is no row.
        quantity, more: as in `panel`.
    """
    groups = list(frame.groupby(by, sort=False))
    if not groups:
        return style.message(empty)
    page, axes = style.panels(len(groups), 2.9)
    handles: dict = {}
    for ax, (key, rows) in zip(axes, groups):
        where = dict(zip(by, key))
        its = measure(where, rows) if callable(measure) else measure
        handles |= panel(ax, rows, its, options["resamples"], where, quantity, more)
        ax.set_title(title(where))
        ax.set_ylabel(its.label + (" (log scale)" if ax.get_yscale() == "log" else ""))
    style.legend(page, handles)
    return page


def title(where: Mapping[str, str]) -> str:
    words = {"loss": "attack {}", "ball": "{} ball"}
    return ", ".join(words.get(name, "{}").format(value) for name, value in where.items())


def by_attack(
    trials, panel: Callable[..., dict], options: dict, height: float, empty: str, by: Sequence[str] = ("dataset", "loss")
) -> style.Page:
    """A panel per data set and loss, or what ``by`` names; ``panel(ax, rows, where, β, options)`` gives the legend's artists. Its
    rows are those of the models at the β nearest to ``options["beta"]``, and of the families that have none other than their
    own."""
    groups = list(trials.groupby(list(by), sort=False))
    if not groups:
        return style.message(empty)
    page, axes = style.panels(len(groups), height)
    handles: dict = {}
    for ax, (key, rows) in zip(axes, groups):
        betas = set(rows.loc[rows["family"] != "vae", "beta"].unique()) - {0}
        beta = nearest(betas or {1.0}, options["beta"])
        rows = rows[rows["beta"].isin((0, beta)) | (rows["family"] == "vae")]
        handles |= panel(ax, rows, dict(zip(by, key)), beta, options)
    style.legend(page, handles)
    return page
