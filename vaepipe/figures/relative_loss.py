"""Adversarial loss as a share of the loss without distortion, against β: what attacking changes, freed of the latent scale."""

from __future__ import annotations

from vaepipe.figures import curves, style
from vaepipe.figures.registry import Data

MEASURE = curves.Measure("objective", "Δ / Δ₀, ratio of means", over="initial_divergence", log=True)


@style.house
def draw(data: Data, options: dict) -> style.Page:
    """One panel per data set and loss: mean of divergence + λ‖d‖₂ over mean of the divergence at d = 0; 1: attacks do nothing."""
    start = data.attacks.groupby(["dataset", "loss"])["initial_divergence"].transform("min")
    frame = data.attacks[
        (start >= 0) & (data.attacks["family"] != "ae")
    ]  # the loss `output` of a density, and `max-damage`, have no zero to be a share of
    empty = "No attack of this study has a loss that is a divergence: there is no share of Δ₀ to show."
    return curves.against_beta(frame, ["dataset", "loss"], MEASURE, options, empty=empty, more=_one)


def _one(ax, frame) -> tuple[dict, str]:
    if ax.get_ylim()[1] > 0.5:
        ax.axhline(1, color=style.GREY, linestyle=":", linewidth=0.7)
    return {}, "1: the attack changed nothing, at any λ. The latent scale, which inflates Δ, drops out."
