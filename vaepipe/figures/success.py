"""Success of attacks against the distortion they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from vaepipe.analysis.families import label, ordered
from vaepipe.analysis.intervals import Interval, clustered_interval
from vaepipe.analysis.means import TRIAL_CLUSTERS
from vaepipe.analysis.robustness import SUCCESS
from vaepipe.analysis.trials import areas
from vaepipe.figures import curves, flags, notes, style
from vaepipe.figures.data import Data
from vaepipe.models.family import find_family

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "Share of pairs fooled against the distortion it takes"
CAPTION = f"""
A distortion d fools a pair if the reconstruction of x + d is nearer to the target's reconstruction than to
the original's: (A − T)/(O − T) < {SUCCESS:g}. The curve is the share of pairs that some λ fooled with at
most this ‖d‖₂, pixels in [0,1]. A curve farther to the right or lower is more robust. The axis ends where no
curve rises any more.
"""
POINTS = 60
EMPTY = "No image data set of this study was attacked: there is no success to show."


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """One panel per data set and loss: share of pairs that some λ fooled with at most this ‖d‖₂."""
    return curves.by_attack(data.targeted_attacks, _panel, options, EMPTY).describe(TITLE, CAPTION)


def _panel(ax: Axes, frame: pd.DataFrame, where: dict[str, str], options: Plot) -> dict[str, Artist]:
    pairs = areas(frame).dropna(subset=["fooling_norm"])
    norms = np.linspace(0, _end(pairs["fooling_norm"]), POINTS)
    handles: dict[str, Artist] = {}
    for family in ordered(pairs["family"]):
        rows = pairs[pairs["family"] == family]
        shares = _shares_fooled(rows, norms, options.resamples)
        middle, low, high = np.array(shares).T
        colour = find_family(family).colour
        (handles[label(family)],) = ax.plot(norms, middle, color=colour, gid=family)
        ax.fill_between(norms, low.clip(0, 1), high.clip(0, 1), color=colour, alpha=0.2, linewidth=0)
        for key in flags.flagged(frame[frame["family"] == family]):
            flags.mark(ax, key, norms[-1], middle[-1])
        row = {**where, "quantity": "success", "family": family, "beta": rows["beta"].iloc[0]}
        for norm, share in zip(norms, shares):
            style.add_row(ax, row | {"norm": norm} | share._asdict(), norm, share.estimate)
    ax.set(xlim=(0, norms[-1]), xlabel="distortion ‖d‖₂")
    ax.set(ylim=(-0.02, 1.02), ylabel="share of pairs fooled")
    sizes = notes.trials_of_pairs(frame), notes.lambda_range(frame)
    resampled = notes.resampling(frame, TRIAL_CLUSTERS, options.resamples, "Bands")
    curves.say(ax, where, *sizes, resampled, flags.note(frame))
    return handles


def _end(fooling_norms: pd.Series) -> float:
    """Return the end of the axis: a little beyond the largest distortion that a fooled pair took."""
    least = fooling_norms[np.isfinite(fooling_norms)]
    return 1.06 * float(least.max()) if len(least) and least.max() > 0 else 1.0


def _shares_fooled(pairs: pd.DataFrame, norms: np.ndarray, resamples: int) -> list[Interval]:
    """Return the share of pairs that a distortion of at most each norm fooled.

    Norms that fool equally many pairs fool the same pairs, so they have one interval.
    """
    fooled = [pairs["fooling_norm"].to_numpy() <= norm for norm in norms]
    ids = [pairs["pair"], pairs["seed"]]
    different = {which.sum(): which for which in fooled}
    shares = {n: clustered_interval(which, ids, resamples=resamples) for n, which in different.items()}
    return [shares[which.sum()] for which in fooled]
