"""Adversarial loss as a share of the loss without distortion, against β: what attacking changes at any latent
scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from vaepipe.analysis.families import with_posterior_width
from vaepipe.analysis.means import Measure
from vaepipe.figures import curves, style
from vaepipe.figures.data import Data

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

CAPTION = r"""
Δ / Δ\ :sub:`0`, the share of the loss without distortion that the attack left, against β. It does not
change when the latent space is stretched. 1: the attack changed nothing.

{attacks} {flags} {intervals}
"""
MEASURE = Measure("objective", "Δ / Δ₀, ratio of means", over="initial_divergence", log=True)
EMPTY = "No attack of this study has a loss that is a divergence: there is no share of Δ₀ to show."


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """One panel per data set and loss: mean of divergence + λ‖d‖₂ over mean of the divergence at d = 0.

    A loss with negative values, such as `output` of a density, has no zero and is left out.
    """
    attacks = data.table("attacks")
    start = attacks.groupby(["dataset", "loss"])["initial_divergence"].transform("min")
    frame = with_posterior_width(attacks[start >= 0])
    return curves.against_beta(frame, ["dataset", "loss"], MEASURE, options, empty=EMPTY, more=_line_at_one)


def _line_at_one(ax: Axes, _frame: pd.DataFrame) -> tuple[dict[str, Artist], str]:
    if ax.get_ylim()[1] > 0.5:
        ax.axhline(1, color=style.GREY, linestyle=":", linewidth=0.7)
    return {}, "1: the attack changed nothing, at any λ. The latent scale, which inflates Δ, drops out."
