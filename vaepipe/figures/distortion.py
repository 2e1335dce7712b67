"""Distortion-distortion curves: how near to the target an attack brings the reconstruction, for the
distortion it takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from vaepipe.analysis.families import label, ordered
from vaepipe.analysis.formatting import count, interval_text
from vaepipe.analysis.intervals import Interval
from vaepipe.analysis.means import TRIAL_CLUSTERS, pair_and_seed_interval
from vaepipe.analysis.trials import areas, mean_curve, relative
from vaepipe.figures import curves, flags, notes, style
from vaepipe.figures.data import Data
from vaepipe.models.family import find_family

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

CAPTION = r"""
Distance of the reconstruction to the target, from 1 (that of x) to 0 (that of the target itself), against
‖d‖\ :sub:`2` / ‖x − x\ :sub:`t`\ ‖\ :sub:`2`, at the β nearest to {beta}. The area under the curve is AUDDC
(Gondim-Ribeiro et al. 2018): larger is more robust, in image space.

{attacks} {flags} {intervals}
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
    return curves.by_attack(data.targeted_attacks, _panel, options, 2.9, EMPTY)


def _panel(
    ax: Axes, frame: pd.DataFrame, where: dict[str, str], beta: float, options: Plot
) -> dict[str, Artist]:
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
        style.page_of(ax).rows.extend(ratio | {"h": h} | i._asdict() for h, i in means.items())
        style.page_of(ax).rows.append(auddc | area._asdict())
    _label(ax)
    ax.set_title(f"{curves.title(where)}, β = {beta:g}")
    without_curve = int(area_of_pairs["auddc"].isna().sum())
    lines = [
        f"AUDDC, larger is more robust: {'; '.join(texts)}.",
        f"{notes.trials_of_pairs(frame)} {notes.lambda_range(frame)}",
        notes.resampling(frame, TRIAL_CLUSTERS, options.resamples, "band and brackets"),
    ]
    if without_curve:
        curves_left_out = count(without_curve, "curves")
        lines.append(f"{curves_left_out} left out: O ≤ T, the model rebuilds x as near to $x_t$ as $x_t$.")
    style.note(ax, notes.joined([*lines, flags.note(frame)]))
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
    for y, text in ((1, "original's"), (0, "target's")):
        ax.axhline(y, color=style.GREY, linestyle=":", linewidth=0.7)
        look: dict[str, Any] = {"ha": "right", "fontsize": 5.5, "color": style.GREY}
        ax.annotate(f"{text} rec.", (1, y), (-2, 1), textcoords="offset points", **look)
    ax.set(xlim=(0, 1), xlabel="distortion ‖d‖₂ / ‖x − $x_t$‖₂", ylabel="distance to target (A − T)/(O − T)")
