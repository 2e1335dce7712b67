"""Adversarial likelihood −log p(x_t|z*) against β: how badly the attacked model rebuilds the target."""

from __future__ import annotations

from vaepipe.analysis import trials as pairs
from vaepipe.figures import curves, style
from vaepipe.figures.registry import Data

MEASURE = curves.Measure("target_nll", "−log p($x_t$|z*), nats per image")


@style.house
def draw(data: Data, options: dict) -> style.Page:
    """One panel per data set and loss: mean over pairs, λ, d_z and seeds; z* ~ q(z|x + d)."""
    empty = "No image data set of this study was attacked: there is no adversarial likelihood to show."
    return curves.against_beta(
        pairs.targeted(data.attacks), ["dataset", "loss"], MEASURE, options, empty=empty, quantity="target_nll", more=_direction
    )


def _direction(ax, frame) -> tuple[dict, str]:
    return {}, "Higher: the reconstruction stays farther from the target. z* ~ q(z|x + d)."
