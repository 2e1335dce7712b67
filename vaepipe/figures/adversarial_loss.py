"""Adversarial loss against β: the value of the attack's objective, averaged as the seed paper does."""

from __future__ import annotations

import numpy as np
from matplotlib.lines import Line2D

from vaepipe.analysis.robustness import UNMOVED
from vaepipe.figures import curves, style
from vaepipe.figures.registry import Data

UNITS = dict.fromkeys(("latent-w2", "latent-mean"), "squared latent units")
UNITS |= {"latent-w2-root": "latent units", "max-damage": "‖·‖₂ of pixels in [0,1]"}
"""Of losses that are distances, not nats."""
EMPTY = "No image data set of this study was attacked: there is no adversarial loss to show."


@style.house
def draw(data: Data, options: dict) -> style.Page:
    """One panel per data set and loss: plain mean over pairs, λ, d_z and seeds of divergence + λ‖d‖₂, nats.

    Dotted: the mean divergence at d = 0. The penalised objective cannot exceed it, and reaches it where λ is so large that
    the best attack is none; those trials weigh most in a plain mean. Dashed, where the table has it: what each row reached
    by itself, before the distortions found at other λ of its pair were tried.
    """
    frame = data.attacks[data.attacks["family"] != "ae"]  # without width, its posteriors have another Δ: compare by distortion
    return curves.against_beta(
        frame, ["dataset", "loss"], measure, options, empty=EMPTY, quantity="adversarial_loss", more=references
    )


def measure(where: dict, rows) -> curves.Measure:
    """The objective of a panel's rows; minus a log density, or a damage, may lie below zero and has no logarithm."""
    unit = UNITS.get(where["loss"])
    label = f"adversarial loss Δ,\n{unit}" if unit else "adversarial loss Δ, nats"  # a long unit on a line of its own
    return curves.Measure("objective", label, log=not (rows["objective"] < 0).any())


def references(ax, frame) -> tuple[dict, str]:
    """The loss without distortion, and that of each row's own search; artists by label, and a line for the note."""
    handles = _means(ax, frame, "initial_divergence", "start", "mean Δ₀, at d = 0", ":")
    unmoved = 100 * (frame["norm"] < UNMOVED).mean()
    text = f"d ≈ 0 (‖d‖₂ < {UNMOVED:g}) in {unmoved:.0f} % of trials: there Δ ≈ Δ₀."
    if "own_objective" in frame:
        handles |= _means(ax, frame, "own_objective", "own", "before the envelope over λ", (0, (1.5, 1)))
        gain = frame["own_objective"] - frame["objective"]
        better = 100 * (gain > 1e-6 * frame["own_objective"].abs()).mean()
        text += f"\nAnother λ's distortion was better in {better:.0f} % of trials."
    return handles, text


def _means(ax, frame, column: str, gid: str, label: str, linestyle) -> dict[str, Line2D]:
    means = frame.groupby(["family", "beta"])[column].mean()
    log = ax.get_yscale() == "log"
    found = {key: value if np.isfinite(value) and (value > 0 or not log) else np.nan for key, value in means.items()}
    for family in style.LINES:
        look = {"color": style.COLOURS[family], "linewidth": 0.9, "linestyle": linestyle}
        ax.plot(*curves.line(found, family), gid=f"{gid} {family}", **look)
    if ("vae", 1.0) in found and len(found) == 1:
        ax.plot([1.0], [found["vae", 1.0]], "_", color=style.COLOURS["vae"], gid=f"{gid} vae")
    return {label: Line2D([], [], linestyle=linestyle, color=style.GREY, linewidth=0.9)}
