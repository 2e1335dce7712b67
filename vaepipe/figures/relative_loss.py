"""Adversarial loss as a share of the loss without distortion, against β: what attacking changes at any
precision or scale of the latent space."""

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

TITLE = "Share of the loss that attacking leaves, Δ/Δ₀, against β"
CAPTION = """
The mean adversarial loss over the mean loss without distortion, a ratio of means. At 1 the attack changed
nothing at any λ. Lower means easier to fool. A factor that Δ and Δ₀ share cancels, whether it comes from the
precision of the latent code or from the scale of the latent space. Losses that can be negative have no such
share and are left out.
"""
MEASURE = Measure("objective", "Δ / Δ₀, ratio of means", over="initial_divergence", log=True)
NARROW = 3
"""Largest mean / smallest below which a linear axis shows more than a logarithmic one."""
EMPTY = "No attack of this study has a loss that is a divergence: there is no share of Δ₀ to show."


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """One panel per data set and loss: mean of divergence + λ‖d‖₂ over mean of the divergence at d = 0.

    A loss with negative values, such as `output` of a density, has no zero and is left out.
    """
    attacks = data.table("attacks")
    start = attacks.groupby(["dataset", "loss"])["initial_divergence"].transform("min")
    frame = with_posterior_width(attacks[start >= 0])
    page = curves.against_beta(frame, ["dataset", "loss"], MEASURE, options, empty=EMPTY, more=_axis)
    return page.describe(TITLE, CAPTION)


def _axis(ax: Axes, _frame: pd.DataFrame) -> tuple[dict[str, Artist], str]:
    low, high = ax.get_ylim()
    if low > 0 and high / low < NARROW:
        ax.set_yscale("linear")
    if high > 0.5:
        ax.axhline(1, color=style.GREY, linestyle=":", linewidth=style.size(0.7))
    return {}, ""
