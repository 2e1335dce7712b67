"""Adversarial likelihood −log p(x_t|z*) against β: how badly the attacked model rebuilds the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.analysis.means import Measure
from vaepipe.figures import curves, style
from vaepipe.figures.data import Data

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "−log p(x_t|z*) against β, the adversarial likelihood"
CAPTION = """
How badly the attacked code z* ~ q(z|x + d) explains the target x_t: higher means that the reconstruction
stays farther from it. The unit does not depend on the attack's loss. A model that explains no image well is
high, too: compare with the figure elbo.
"""
MEASURE = Measure("target_nll", "−log\u00a0p($x_t$|z*), nats per image")
EMPTY = "No image data set of this study was attacked: there is no adversarial likelihood to show."


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """One panel per data set and loss: mean over pairs, λ, d_z and seeds; z* ~ q(z|x + d)."""
    page = curves.against_beta(
        data.targeted_attacks, ["dataset", "loss"], MEASURE, options, empty=EMPTY, quantity="target_nll"
    )
    return page.describe(TITLE, CAPTION)
