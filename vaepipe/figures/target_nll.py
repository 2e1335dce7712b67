"""Adversarial likelihood −log p(x_t|z*) against β: how badly the attacked model rebuilds the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from vaepipe.analysis.means import Measure
from vaepipe.figures import curves, style
from vaepipe.figures.data import Data

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

CAPTION = r"""
−log p(x\ :sub:`t`\ \|z*), z* from q(z|x + d): how badly the attacked code explains the target, nats,
against β. Higher is more robust, and not in the unit of the attack's own loss.

{attacks} {flags} {intervals}
"""
MEASURE = Measure("target_nll", "−log p($x_t$|z*), nats per image")
EMPTY = "No image data set of this study was attacked: there is no adversarial likelihood to show."


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """One panel per data set and loss: mean over pairs, λ, d_z and seeds; z* ~ q(z|x + d)."""
    by = ["dataset", "loss"]
    return curves.against_beta(
        data.targeted_attacks, by, MEASURE, options, empty=EMPTY, quantity="target_nll", more=_direction
    )


def _direction(_ax: Axes, _frame: pd.DataFrame) -> tuple[dict[str, Artist], str]:
    return {}, "Higher: the reconstruction stays farther from the target. z* ~ q(z|x + d)."
