"""Training curves: the held-out ELBO and the training loss against epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from matplotlib.artist import Artist
from matplotlib.lines import Line2D

from vaepipe.analysis.families import label
from vaepipe.figures import scales, style
from vaepipe.figures.data import Data
from vaepipe.models.family import find_family

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "Training curves"
CAPTION = """
Means over the images of each epoch, in nats, for the models whose β and d_z are nearest to plot.beta and
plot.d_z. Left: the ELBO at β = 1 of the first 1,000 held-out images (solid) and of the training images
(dashed). Right: the KL divergence to the prior in training. A held-out ELBO that falls while the other rises
is overfitting. One that still rises at the end is a training that was too short.
"""
STYLES: dict[str, Literal["-", "--"]] = {"held-out": "-", "training": "--"}
EMPTY = "No model of this data set was trained here."


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """Two panels: ELBO, and KL, against epochs."""
    if not data.arrays:
        return style.message(EMPTY, options).describe(TITLE, CAPTION)
    page, axes = style.panels([{"dataset": "a"}, {"dataset": "a"}], options)
    handles: dict[str, Artist] = {}
    for item in data.arrays:
        history, colour = item.arrays, find_family(item.cell.family).colour
        epochs, elbo = history["epoch"], history["log_likelihood"] - history["kl"]
        (handles[label(item.cell.family)],) = axes[0].plot(epochs, history["held_out_elbo"], color=colour)
        axes[0].plot(epochs, elbo, color=colour, linestyle="--", linewidth=style.size(0.8))
        axes[1].plot(epochs, history["kl"], color=colour)
        numbers = zip(epochs, history["held_out_elbo"], elbo, history["kl"])
        names = ("epoch", "held_out_elbo", "training_elbo", "training_kl")
        page.rows += [vars(item.cell) | dict(zip(names, row)) for row in numbers]
    handles |= {
        name: Line2D([], [], color=style.GREY, linestyle=line, linewidth=style.size(1))
        for name, line in STYLES.items()
    }
    for ax, text in zip(axes, ("ELBO, nats", "KL, nats")):
        scales.label_y(ax, text)
        ax.set_xlabel("epoch")
        first = min(item.arrays["epoch"][0] for item in data.arrays)
        ax.set_xlim(left=float(first))
    style.legend(page, handles)
    cell = data.arrays[0].cell
    models = ", ".join(f"{label(item.cell.family)} β = {item.cell.beta:g}" for item in data.arrays)
    page.caption.say("", f"Shown: {cell.dataset}, d_z = {cell.d_z}, training seed {cell.seed}; {models}.")
    page.line(f"{cell.dataset}, $d_z$ = {cell.d_z}", models)
    return page.describe(f"{TITLE}: {cell.dataset}", CAPTION)
