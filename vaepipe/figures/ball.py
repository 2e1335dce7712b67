"""Attacks of bounded size: how far they lower the divergence, against the bound."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vaepipe.analysis.intervals import Interval, clustered_interval
from vaepipe.analysis.trials import UNTARGETED
from vaepipe.figures import curves, flags, style
from vaepipe.figures.adversarial_loss import UNITS
from vaepipe.figures.registry import Data

NAMES = {"l2": "L₂", "linf": "L∞"}
XLABEL = {"l2": "bound ε on ‖d‖₂, pixels in [0,1]", "linf": "bound ε on the largest |d| of a pixel"}
EMPTY = "No model of this study was attacked in balls: `ball.losses` is empty."


@style.house
def draw(data: Data, options: dict) -> style.Page:
    """One panel per data set, loss and norm: mean divergence over pairs, d_z and seeds as a share of the mean without distortion,
    against ε. Losses that have no zero to be a share of, `output` of a density and `max-damage`: the mean itself."""
    return curves.by_attack(data.ball, _panel, options, 2.8, EMPTY, by=("dataset", "loss", "ball"))


def _panel(ax: Axes, its, where: dict, beta: float, options: dict) -> dict[str, Line2D]:
    share = where["loss"] not in UNTARGETED and its["initial_divergence"].min() >= 0
    handles = {}
    for family in style.present(its["family"]):
        rows = its[its["family"] == family]
        found = {0.0: _start(rows, share, options)}
        found |= {radius: _interval(at, "divergence", share, options) for radius, at in rows.groupby("radius")}
        radii, ends = list(found), np.array(list(found.values())).T
        look = {"color": style.COLOURS[family], "marker": style.MARKERS[family], "markersize": 3}
        (handles[style.NAMES[family]],) = ax.plot(radii, ends[0], gid=family, **look)
        ax.fill_between(radii, ends[1], ends[2], color=style.COLOURS[family], alpha=0.2, linewidth=0)
        name, own = "relative_divergence" if share else "divergence", float(rows["beta"].iloc[0])
        base = {**where, "quantity": name, "family": family, "beta": own, "flagged": len(flags.flagged(rows)) > 0}
        ax.figure.rows.extend(base | {"radius": radius} | i._asdict() for radius, i in found.items())
        if flags.flagged(rows):
            flags.mark(ax, (family, own), radii[-1], ends[0][-1])
    if share and its["divergence"].min() > 0:
        ax.set_yscale("log")
        style.log_ticks(ax)
    unit = UNITS.get(where["loss"], "nats")
    label = "share of divergence left" if share else f"divergence, {unit}"
    ax.set(xlabel=XLABEL[where["ball"]], ylabel=label + (" (log scale)" if ax.get_yscale() == "log" else ""))
    ax.set_title(f"{curves.title(where | {'ball': NAMES[where['ball']]})}, β = {beta:g}")
    lines = [
        "Lower: easier to fool. " + ("1: nothing changed. Ratio of means." if share else "At ε = 0: without distortion."),
        f"n = {style.count(its['pair'].nunique(), 'pairs')} × {style.count(its['d_z'].nunique(), '$d_z$')} × "
        f"{style.count(its['seed'].nunique(), 'seeds')}.",
        curves.resampled(its, curves.TRIAL_CLUSTERS, options["resamples"], "band"),
        flags.said(its),
    ]
    style.note(ax, "\n".join(filter(None, lines)))
    return handles


def _start(rows, share: bool, options: dict) -> Interval:
    first = rows[rows["radius"] == rows["radius"].min()]
    return Interval(1.0, 1.0, 1.0) if share else _interval(first, "initial_divergence", share, options)


def _interval(rows, column: str, share: bool, options: dict) -> Interval:
    compared = {"against": rows["initial_divergence"], "compare": "ratio"} if share else {}
    return clustered_interval(rows[column], [rows["pair"], rows["seed"]], resamples=options["resamples"], **compared)
