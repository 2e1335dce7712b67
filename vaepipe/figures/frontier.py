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
from vaepipe.figures import curves, flags, notes, scales, style
from vaepipe.figures.data import Data
from vaepipe.models.family import find_family

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "Robustness (AUDDC) against quality (ELBO)"
CAPTION = """
One point for each family and β. AUDDC, the area under the distortion curve, stands against the ELBO at β =
1. Larger is more robust, so up and to the right is better. Lines join the points in the order of β, and
larger points have a larger β. No other point beats a filled one in both.
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
        return style.message(EMPTY, options).describe(TITLE, CAPTION)
    names = [{"dataset": dataset, "loss": loss} for (dataset, loss), _ in groups]
    page, axes = style.panels(names, options)
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
        curves.say(ax, {"dataset": dataset, "loss": loss}, _note(frame, points, n_images, options.resamples))
    curves.write_titles(axes, names)
    scales.share(axes, y=True)
    style.legend(page, handles)
    page.line(curves.shared_name(names), "larger markers: larger β", "bars: 95 % intervals")
    return page.describe(TITLE, CAPTION)


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
    betas = sorted({beta for _, beta in points})
    for (family, beta), (x, y) in sorted(points.items(), key=lambda item: order.index(item[0][0])):
        look = {"filled": (family, beta) in best, "rank": betas.index(beta) / max(len(betas) - 1, 1)}
        handles[label(family)] = _point(ax, family, beta, (x, y), **look)
        row = {**where, "family": family, "beta": beta, "undominated": (family, beta) in best}
        row |= {f"elbo_{name}": value for name, value in x._asdict().items()}
        row |= {f"auddc_{name}": value for name, value in y._asdict().items()}
        style.add_row(ax, row, x.estimate, y.estimate)
    scales.label_x(ax, "ELBO, nats per image")
    ax.set_ylabel("AUDDC")
    return handles


def _point(ax: Axes, family: str, beta: float, point: Point, filled: bool, rank: float) -> Artist:
    """Draw a point with the bars of both intervals; return the artist of the legend.

    Args:
        rank: of its β, 0 to 1; a higher one has a larger marker.
    """
    x, y = point
    colour, marker = find_family(family).colour, find_family(family).marker
    ax.plot([x.low, x.high], [y.estimate] * 2, color=colour, linewidth=0.6, alpha=0.7)
    ax.plot([x.estimate] * 2, [y.low, y.high], color=colour, linewidth=0.6, alpha=0.7)
    look: dict[str, Any] = {"color": colour, "markerfacecolor": colour if filled else "white"}
    look |= {"markersize": style.size(3 + 3 * rank)}
    ax.plot(x.estimate, y.estimate, marker, gid=f"{family} {beta:g}", **look)
    return Line2D([], [], linestyle="", marker=marker, color=colour)


def _note(
    frame: pd.DataFrame, points: Mapping[tuple[str, float], Point], n_images: int, resamples: int
) -> str:
    lines = [
        f"ELBO: {n_images:,} held-out images; AUDDC: {frame['pair'].nunique()} pairs.",
        notes.lambda_range(frame),
        notes.resampling(frame, TRIAL_CLUSTERS, resamples, "Bars (of the ELBO over images)"),
    ]
    return notes.joined([*lines, notes.missing(frame, points), flags.note(frame)])
