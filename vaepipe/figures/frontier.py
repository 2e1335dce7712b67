"""Robustness against quality: what a family pays for being harder to fool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vaepipe.analysis.families import label, ordered, varying_with_beta, with_posterior_width
from vaepipe.analysis.intervals import Interval, clustered_interval
from vaepipe.analysis.means import TRIAL_CLUSTERS
from vaepipe.analysis.trials import areas
from vaepipe.figures import curves, flags, notes, style
from vaepipe.figures.data import Data
from vaepipe.models.family import find_family

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

CAPTION = r"""
Robustness (AUDDC) against quality (β = 1 ELBO), a point for each family and β, joined in the order of β. Up
and to the right is better; filled points are beaten in both by none.

{attacks} {flags} {intervals}
"""
Point = tuple[Interval, Interval]
"""Mean ELBO over images, and mean AUDDC over pairs."""
MODEL = ["family", "beta"]
EMPTY = "No image data set of this study was attacked: there is no robustness to weigh against quality."


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """One panel per data set and loss: AUDDC against the β = 1 ELBO, a point per (family, β), lines in the
    order of β.

    Filled: no other point is better in both. Up and to the right is better.
    """
    attacks = with_posterior_width(data.targeted_attacks)
    groups = list(attacks.groupby(["dataset", "loss"], sort=False))
    if not groups:
        return style.message(EMPTY)
    page, axes = style.panels(len(groups), 2.9)
    handles: dict[str, Artist] = {}
    images = data.table("images")
    images = with_posterior_width(images[images["dataset"].isin(attacks["dataset"].unique())])
    quality = means(images, ["dataset", *MODEL], "elbo", "image", options.resamples)
    for ax, ((dataset, loss), frame) in zip(axes, groups):
        robust = means(areas(frame), MODEL, "auddc", "pair", options.resamples)
        points = {
            key: (quality[dataset, *key], area) for key, area in robust.items() if (dataset, *key) in quality
        }
        handles |= _panel(ax, points, {"dataset": dataset, "loss": loss})
        for key in flags.flagged(frame):
            if key in points:
                flags.mark(ax, key, *(interval.estimate for interval in points[key]))
        n_images = images["image"][images["dataset"] == dataset].nunique()
        style.note(ax, _note(frame, points, n_images, options.resamples))
    style.legend(page, handles)
    return page


def means(rows: pd.DataFrame, by: list[str], column: str, kind: str, resamples: int) -> dict[tuple, Interval]:
    """Return a column's mean over d_z, seeds and ``kind`` ("image", "pair") for each group of ``by``."""
    return {
        key: clustered_interval(group[column], [group[kind], group["seed"]], resamples=resamples)
        for key, group in rows.groupby(by)
    }


def undominated(points: Mapping[tuple[str, float], Point]) -> set[tuple[str, float]]:
    """Return the keys of the points that no other one beats in both estimates."""
    values = {key: (x.estimate, y.estimate) for key, (x, y) in points.items()}

    def beaten(x: float, y: float) -> bool:
        return any(a >= x and b >= y and (a, b) != (x, y) for a, b in values.values())

    return {key for key, value in values.items() if not beaten(*value)}


def _panel(ax: Axes, points: Mapping[tuple[str, float], Point], where: dict[str, str]) -> dict[str, Artist]:
    best = undominated(points)
    handles: dict[str, Artist] = {}
    for family in varying_with_beta(family for family, _ in points):
        _, line = curves.line_over_beta(points, family)
        look: dict[str, Any] = {"color": find_family(family).colour, "linewidth": 0.9}
        ax.plot([x.estimate for x, _ in line], [y.estimate for _, y in line], gid=f"line {family}", **look)
    order = ordered(family for family, _ in points)
    for (family, beta), (x, y) in sorted(points.items(), key=lambda item: order.index(item[0][0])):
        handles[label(family)] = _point(ax, family, beta, (x, y), filled=(family, beta) in best)
        row = {**where, "family": family, "beta": beta, "undominated": (family, beta) in best}
        row |= {f"elbo_{name}": value for name, value in x._asdict().items()}
        row |= {f"auddc_{name}": value for name, value in y._asdict().items()}
        style.page_of(ax).rows.append(row)
    ax.set(xlabel="ELBO (at β = 1), nats per image", ylabel="AUDDC", title=curves.title(where))
    return handles


def _point(ax: Axes, family: str, beta: float, point: Point, filled: bool) -> Artist:
    """Draw a point with the bars of both intervals and its β; return the artist of the legend."""
    x, y = point
    colour, marker = find_family(family).colour, find_family(family).marker
    ax.plot([x.low, x.high], [y.estimate] * 2, color=colour, linewidth=0.6, alpha=0.7)
    ax.plot([x.estimate] * 2, [y.low, y.high], color=colour, linewidth=0.6, alpha=0.7)
    look: dict[str, Any] = {"color": colour, "markerfacecolor": colour if filled else "white"}
    ax.plot(x.estimate, y.estimate, marker, gid=f"{family} {beta:g}", **look)
    position = (x.estimate, y.estimate)
    ax.annotate(f"{beta:g}", position, (3, 3), textcoords="offset points", fontsize=6, color=colour)
    return Line2D([], [], linestyle="", marker=marker, color=colour)


def _note(
    frame: pd.DataFrame, points: Mapping[tuple[str, float], Point], n_images: int, resamples: int
) -> str:
    scale = "AUDDC: larger is more robust, on the scale of the model's own reconstructions."
    lines = [
        f"{scale} Numbers: β. Filled: none is better in both.",
        f"n = {n_images:,} images; {frame['pair'].nunique()} pairs. {notes.lambda_range(frame)}",
        notes.resampling(frame, TRIAL_CLUSTERS, resamples, "bars (ELBO: images for pairs)"),
    ]
    return notes.joined([*lines, notes.missing(frame, points), flags.note(frame)])
