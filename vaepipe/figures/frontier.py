"""Robustness against quality: what a family pays for being harder to fool."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vaepipe.analysis import trials as pairs
from vaepipe.analysis.intervals import Interval, clustered_interval
from vaepipe.figures import curves, flags, style
from vaepipe.figures.registry import Data

Point = tuple[Interval, Interval]
"""Of the mean ELBO over images, and of the mean AUDDC over pairs."""
MODEL = ["family", "beta"]


@style.house
def draw(data: Data, options: dict) -> style.Page:
    """One panel per data set and loss: AUDDC against the β = 1 ELBO, a point per (family, β), lines in the order of β.

    Filled: no other point is better in both. Up and to the right is better.
    """
    attacks = pairs.targeted(data.attacks)
    groups = list(attacks[attacks["family"] != "ae"].groupby(["dataset", "loss"], sort=False))
    if not groups:
        return style.message("No image data set of this study was attacked: there is no robustness to weigh against quality.")
    page, axes = style.panels(len(groups), 2.9)
    handles: dict = {}
    images = data.images[data.images["dataset"].isin([dataset for (dataset, _), _ in groups]) & (data.images["family"] != "ae")]
    quality = means(images, ["dataset", *MODEL], "elbo", "image", options["resamples"])
    for ax, ((dataset, loss), frame) in zip(axes, groups):
        where = {"dataset": dataset, "loss": loss}
        robust = means(pairs.areas(frame), MODEL, "auddc", "pair", options["resamples"])
        points = {key: (quality[dataset, *key], area) for key, area in robust.items() if (dataset, *key) in quality}
        handles |= _panel(ax, points, where)
        for key in flags.flagged(frame):
            if key in points:
                flags.mark(ax, key, *(interval.estimate for interval in points[key]))
        n, clusters = images["image"][images["dataset"] == dataset].nunique(), {"pair": "pairs", "seed": "training seeds"}
        lines = [
            "AUDDC: larger is more robust, on the scale of the model's own reconstructions. Numbers: β. "
            "Filled: none is better in both.",
            f"n = {n:,} images; {frame['pair'].nunique()} pairs. {curves.lambda_range(frame)}",
            curves.resampled(frame, clusters, options["resamples"], "bars (ELBO: images for pairs)"),
        ]
        more = [curves.missing(frame, dict.fromkeys(points)), flags.said(frame)]
        style.note(ax, "\n".join([*lines, *filter(None, more)]))
    style.legend(page, handles)
    return page


def means(rows, by: list[str], column: str, kind: str, resamples: int) -> dict[tuple, Interval]:
    """Interval of a column's mean over d_z, seeds and ``kind`` (images, pairs), for each group of ``by``."""
    groups = rows.groupby(by)
    return {key: clustered_interval(its[column], [its[kind], its["seed"]], resamples=resamples) for key, its in groups}


def undominated(points: dict[tuple[str, float], Point]) -> set[tuple[str, float]]:
    """Keys of the points that no other one beats in both estimates."""
    values = {key: (x.estimate, y.estimate) for key, (x, y) in points.items()}
    return {key for key, (x, y) in values.items() if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in values.values())}


def _panel(ax: Axes, points: dict[tuple[str, float], Point], where: dict) -> dict[str, object]:
    best, handles = undominated(points), {}
    for family in style.LINES:
        _, line = curves.line(points, family)
        look = {"color": style.COLOURS[family], "linewidth": 0.9}
        ax.plot([x.estimate for x, _ in line], [y.estimate for _, y in line], gid=f"line {family}", **look)
    order = style.present(family for family, _ in points)
    for (family, beta), (x, y) in sorted(points.items(), key=lambda item: order.index(item[0][0])):
        colour = style.COLOURS[family]
        ax.plot([x.low, x.high], [y.estimate] * 2, color=colour, linewidth=0.6, alpha=0.7)
        ax.plot([x.estimate] * 2, [y.low, y.high], color=colour, linewidth=0.6, alpha=0.7)
        fill = colour if (family, beta) in best else "white"
        look = {"color": colour, "markerfacecolor": fill, "gid": f"{family} {beta:g}"}
        ax.plot(x.estimate, y.estimate, style.MARKERS[family], **look)
        ax.annotate(f"{beta:g}", (x.estimate, y.estimate), (3, 3), textcoords="offset points", fontsize=6, color=colour)
        handles[style.NAMES[family]] = Line2D([], [], linestyle="", marker=style.MARKERS[family], color=colour)
        row = {**where, "family": family, "beta": beta, "undominated": (family, beta) in best}
        row |= {f"elbo_{k}": v for k, v in x._asdict().items()} | {f"auddc_{k}": v for k, v in y._asdict().items()}
        ax.figure.rows.append(row)
    ax.set(xlabel="ELBO (at β = 1), nats per image", ylabel="AUDDC", title=curves.title(where))
    return handles
