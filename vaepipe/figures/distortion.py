"""Distortion-distortion curves: how near to the target an attack brings the reconstruction, for the
distortion it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from vaepipe.analysis.families import label, ordered
from vaepipe.analysis.formatting import count, interval_text
from vaepipe.analysis.intervals import Interval
from vaepipe.analysis.means import TRIAL_CLUSTERS, pair_and_seed_interval
from vaepipe.analysis.trials import areas, mean_curve, relative
from vaepipe.figures import curves, flags, notes, scales, style
from vaepipe.figures.data import Data
from vaepipe.models.family import find_family

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "Distance of the reconstruction to the target against the distortion"
CAPTION = """
A, O and T are the distances to the target x_t of the reconstructions of x + d, of x and of x_t itself. (A −
T)/(O − T) is 1 where the attack did nothing and 0 where it did all it could. The other axis is ‖d‖₂ as a
share of ‖x − x_t‖₂. The area under the curve is AUDDC (Gondim-Ribeiro et al. 2018): larger is more robust.
Neither the scale of the latent space nor the attack's loss enters it.
"""
GRID = np.linspace(0, 1, 41)
EMPTY = "No image data set of this study was attacked: there is no distortion to show."


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """One panel per data set and loss: mean over pairs, d_z and seeds of (A − T)/(O − T) against ‖d‖₂ / ‖x −
    x_t‖₂.

    A, O, T: distance to the target x_t of the reconstruction of x + d, of x, of x_t. The area under a pair's
        curve is its
    AUDDC.
    """
    return curves.by_attack(data.targeted_attacks, _panel, options, EMPTY).describe(TITLE, CAPTION)


def _panel(ax: Axes, frame: pd.DataFrame, where: dict[str, str], options: Plot) -> dict[str, Artist]:
    handles, texts = {}, []
    area_of_pairs, trials = areas(frame), relative(frame)
    for family in ordered(frame["family"]):
        rows = trials[trials["family"] == family]
        points = mean_curve(rows, GRID).groupby("h")
        means = {h: pair_and_seed_interval(at, "v", options.resamples) for h, at in points}
        handles[label(family)] = _curve(ax, family, rows, means)
        pairs = area_of_pairs[area_of_pairs["family"] == family]
        area = pair_and_seed_interval(pairs, "auddc", options.resamples)
        texts.append(f"{label(family)} {interval_text(area)}")
        row = {"family": family, "beta": rows["beta"].iloc[0]}
        ratio, auddc = {**where, "quantity": "ratio", **row}, {**where, "quantity": "auddc", **row}
        for h, interval in means.items():
            style.add_row(ax, ratio | {"h": h} | interval._asdict(), h, interval.estimate)
        style.page_of(ax).rows.append(auddc | area._asdict())
    _label(ax)
    without_curve = int(area_of_pairs["auddc"].isna().sum())
    lines = [
        f"AUDDC: {'; '.join(texts)}.",
        notes.trials_of_pairs(frame),
        notes.lambda_range(frame),
        notes.resampling(frame, TRIAL_CLUSTERS, options.resamples, "Bands and brackets"),
    ]
    if without_curve:
        curves_left_out = count(without_curve, "curves")
        lines.append(f"{curves_left_out} left out: O ≤ T, the model rebuilds x as near to x_t as x_t itself.")
    curves.say(ax, where, *lines, flags.note(frame))
    return handles


def _curve(ax: Axes, family: str, rows: pd.DataFrame, means: Mapping[float, Interval]) -> Artist:
    """Draw one family's mean curve with its band; without a point the line is empty."""
    colour = find_family(family).colour
    h = list(means)
    estimate, low, high = np.array(list(means.values())).T if means else np.empty((3, 0))
    (artist,) = ax.plot(h, estimate, color=colour, gid=family)
    if means:
        ax.fill_between(h, low, high, color=colour, alpha=0.2, linewidth=0)
        for key in flags.flagged(rows):
            flags.mark(ax, key, h[-1], estimate[-1])
    return artist


def _label(ax: Axes) -> None:
    for y in (0, 1):
        ax.axhline(y, color=style.GREY, linestyle=":", linewidth=style.size(0.7))
    ax.set_xlim(0, 1)
    scales.label_x(ax, "‖d‖₂\u00a0/ ‖x\u00a0−\u00a0$x_t$‖₂")
    scales.label_y(ax, "(A − T)/(O − T)")
