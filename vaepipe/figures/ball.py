"""Attacks of bounded size: how far they lower the divergence, against the bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from vaepipe.analysis.families import label, ordered
from vaepipe.analysis.intervals import Interval, clustered_interval
from vaepipe.analysis.means import TRIAL_CLUSTERS
from vaepipe.attacks.loss import find_loss
from vaepipe.figures import curves, flags, notes, scales, style
from vaepipe.figures.data import Data
from vaepipe.models.family import find_family

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "What attacks of bounded size leave of the divergence"
CAPTION = """
The mean divergence after the best distortion within the bound ε, as a share of the mean divergence without
distortion. ε bounds ‖d‖₂ (L₂ ball) or the largest change of a pixel (L∞ ball). 1 means that nothing changed,
and lower that the model is easier to fool. For a loss without a zero it is the mean itself.
"""
XLABEL = {"l2": "bound ε on ‖d‖₂", "linf": "bound ε on every pixel's |d|"}
EMPTY = "No model of this study was attacked in balls: `ball.losses` is empty."


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """One panel per data set, loss and norm: mean divergence over pairs, d_z and seeds against ε.

    It is a share of the mean without distortion. For a loss without a zero (`output` of a density,
    `max-damage`) it is the mean itself.
    """
    by = ("dataset", "loss", "ball")
    return curves.by_attack(data.table("ball"), _panel, options, EMPTY, by).describe(TITLE, CAPTION)


def _panel(ax: Axes, frame: pd.DataFrame, where: dict[str, str], options: Plot) -> dict[str, Artist]:
    share = find_loss(where["loss"]).has_target and frame["initial_divergence"].min() >= 0
    handles: dict[str, Artist] = {}
    for family in ordered(frame["family"]):
        rows = frame[frame["family"] == family]
        means = _by_radius(rows, share, options.resamples)
        handles[label(family)] = _curve(ax, family, means)
        beta_of_family = float(rows["beta"].iloc[0])
        flagged = flags.flagged(rows)
        row: dict[str, Any] = {**where, "quantity": "relative_divergence" if share else "divergence"}
        row |= {"family": family, "beta": beta_of_family, "flagged": len(flagged) > 0}
        for radius, interval in means.items():
            point = row | {"radius": radius} | interval._asdict()
            style.add_row(ax, point, radius, interval.estimate)
        if flagged:
            radius = list(means)[-1]
            flags.mark(ax, (family, beta_of_family), radius, means[radius].estimate)
    if share and frame["divergence"].min() > 0:
        ax.set_yscale("log")
        scales.log_ticks(ax)
    scales.label_x(ax, XLABEL[where["ball"]])
    if where["ball"] == "linf" and in_levels(frame["radius"]):
        ax.xaxis.set_major_formatter(lambda radius, _: f"{255 * radius:.3g}/255")
    scales.label_y(ax, "share of divergence left" if share else curves.with_unit("divergence", where["loss"]))
    resampled = notes.resampling(frame, TRIAL_CLUSTERS, options.resamples, "Bands")
    curves.say(ax, where, notes.trials_of_pairs(frame), resampled, flags.note(frame))
    return handles


def in_levels(radii: pd.Series) -> bool:
    """Return whether all bounds are whole levels of a byte, as papers give them: 8/255."""
    return bool(np.allclose(255 * radii, (255 * radii).round(), atol=1e-6))


def _curve(ax: Axes, family: str, means: Mapping[float, Interval]) -> Artist:
    """Draw one family's means with their band."""
    colour, marker = find_family(family).colour, find_family(family).marker
    radii, (estimate, low, high) = list(means), np.array(list(means.values())).T
    (artist,) = ax.plot(radii, estimate, gid=family, color=colour, marker=marker, markersize=3)
    ax.fill_between(radii, low, high, color=colour, alpha=0.2, linewidth=0)
    return artist


def _by_radius(rows: pd.DataFrame, share: bool, resamples: int) -> dict[float, Interval]:
    """Return ε → mean divergence, or its share of that without distortion; ε = 0 is the state without
    distortion."""
    first = rows[rows["radius"] == rows["radius"].min()]
    start = Interval(1.0, 1.0, 1.0) if share else _interval(first, "initial_divergence", share, resamples)
    others = {radius: _interval(at, "divergence", share, resamples) for radius, at in rows.groupby("radius")}
    return {0.0: start} | others


def _interval(rows: pd.DataFrame, column: str, share: bool, resamples: int) -> Interval:
    compared = {"against": rows["initial_divergence"], "compare": "ratio"} if share else {}
    return clustered_interval(rows[column], [rows["pair"], rows["seed"]], resamples=resamples, **compared)
