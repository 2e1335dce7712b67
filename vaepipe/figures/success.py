"""Success of attacks against the distortion they need."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vaepipe.analysis import robustness
from vaepipe.analysis import trials as pairs
from vaepipe.analysis.intervals import clustered_interval
from vaepipe.figures import curves, flags, style
from vaepipe.figures.registry import Data

POINTS = 60


@style.house
def draw(data: Data, options: dict) -> style.Page:
    """One panel per data set and loss: share of pairs that some λ fooled with a distortion of at most ‖d‖₂."""
    return curves.by_attack(
        pairs.targeted(data.attacks),
        _panel,
        options,
        2.8,
        "No image data set of this study was attacked: there is no success to show.",
    )


def _panel(ax: Axes, its, where: dict, beta: float, options: dict) -> dict[str, Line2D]:
    found = pairs.areas(its).dropna(subset=["fooling_norm"])
    norms = np.linspace(0, float(its["norm"].max()) * 1.02 or 1.0, POINTS)
    handles = {}
    for family in style.present(found["family"]):
        rows = found[found["family"] == family]
        shares = [
            clustered_interval(rows["fooling_norm"] <= norm, [rows["pair"], rows["seed"]], resamples=options["resamples"])
            for norm in norms
        ]
        middle, low, high = np.array(shares).T
        (artist,) = ax.plot(norms, middle, color=style.COLOURS[family], gid=family)
        ax.fill_between(norms, low.clip(0, 1), high.clip(0, 1), color=style.COLOURS[family], alpha=0.2, linewidth=0)
        handles[style.NAMES[family]] = artist
        for key in flags.flagged(its[its["family"] == family]):
            flags.mark(ax, key, norms[-1], middle[-1])
        base = {**where, "quantity": "success", "family": family, "beta": rows["beta"].iloc[0]}
        ax.figure.rows.extend(base | {"norm": norm} | share._asdict() for norm, share in zip(norms, shares))
    ax.set(ylim=(-0.02, 1.02), xlim=(0, norms[-1]), xlabel="distortion ‖d‖₂, pixels in [0,1]", ylabel="share of pairs fooled")
    ax.set_title(f"{curves.title(where)}, β = {beta:g}")
    lines = [
        f"Fooled: (A − T)/(O − T) < {robustness.SUCCESS:g}, nearer to the target's reconstruction than to the original's, "
        "at any λ.",
        f"n = {its['pair'].nunique()} pairs × {its['d_z'].nunique()} $d_z$ × {style.count(its['seed'].nunique(), 'seeds')}. "
        + curves.lambda_range(its),
        curves.resampled(its, curves.TRIAL_CLUSTERS, options["resamples"], "band"),
        flags.said(its),
    ]
    style.note(ax, "\n".join(filter(None, lines)))
    return handles
