"""Distortion-distortion curves: how near to the target an attack brings the reconstruction, for the distortion it takes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vaepipe.analysis import trials as pairs
from vaepipe.analysis.intervals import clustered_interval
from vaepipe.figures import curves, flags, style
from vaepipe.figures.registry import Data

GRID = np.linspace(0, 1, 41)
EMPTY = "No image data set of this study was attacked: there is no distortion to show."


@style.house
def draw(data: Data, options: dict) -> style.Page:
    """One panel per data set and loss: mean over pairs, d_z and seeds of (A − T)/(O − T) against ‖d‖₂ / ‖x − x_t‖₂.

    A, O, T: distance to the target x_t of the reconstruction of x + d, of x, of x_t. The area under a pair's curve is its AUDDC.
    """
    return curves.by_attack(pairs.targeted(data.attacks), _panel, options, 2.9, EMPTY)


def _panel(ax: Axes, its, where: dict, beta: float, options: dict) -> dict[str, Line2D]:
    handles, texts = {}, []
    areas = pairs.areas(its)
    relative = pairs.relative(its)
    for family in style.present(its["family"]):
        trials = relative[relative["family"] == family]
        curve = pairs.mean_curve(trials, GRID)
        found = {h: _interval(rows, "v", options) for h, rows in curve.groupby("h")}
        ends = np.array(list(found.values())).T if found else np.empty((3, 0))
        (artist,) = ax.plot(list(found), ends[0] if found else [], color=style.COLOURS[family], gid=family)
        if found:
            ax.fill_between(list(found), ends[1], ends[2], color=style.COLOURS[family], alpha=0.2, linewidth=0)
            for key in flags.flagged(trials):
                flags.mark(ax, key, list(found)[-1], ends[0][-1])
        handles[style.NAMES[family]] = artist
        area = _interval(areas[areas["family"] == family], "auddc", options)
        texts.append(f"{style.NAMES[family]} {style.interval(area)}")
        ax.figure.rows.extend(
            {**where, "quantity": "ratio", "family": family, "beta": trials["beta"].iloc[0], "h": h} | i._asdict()
            for h, i in found.items()
        )
        ax.figure.rows.append({**where, "quantity": "auddc", "family": family, "beta": trials["beta"].iloc[0], **area._asdict()})
    for y, label in ((1, "original's"), (0, "target's")):
        ax.axhline(y, color=style.GREY, linestyle=":", linewidth=0.7)
        ax.annotate(f"{label} rec.", (1, y), (-2, 1), textcoords="offset points", ha="right", fontsize=5.5, color=style.GREY)
    ax.set(xlim=(0, 1), xlabel="distortion ‖d‖₂ / ‖x − $x_t$‖₂", ylabel="distance to target (A − T)/(O − T)")
    ax.set_title(f"{curves.title(where)}, β = {beta:g}")
    flat = int(areas["auddc"].isna().sum())
    lines = [
        f"AUDDC, larger is more robust: {'; '.join(texts)}.",
        f"n = {style.count(its['pair'].nunique(), 'pairs')} × {style.count(its['d_z'].nunique(), '$d_z$')} × "
        f"{style.count(its['seed'].nunique(), 'seeds')}. {curves.lambda_range(its)}",
        curves.resampled(its, curves.TRIAL_CLUSTERS, options["resamples"], "band and brackets"),
    ]
    lines += [f"{style.count(flat, 'curves')} left out: O ≤ T, the model rebuilds x as near to $x_t$ as $x_t$."] if flat else []
    style.note(ax, "\n".join(filter(None, [*lines, flags.said(its)])))
    return handles


def _interval(rows, column: str, options: dict):
    return clustered_interval(rows[column], [rows["pair"], rows["seed"]], resamples=options["resamples"])
