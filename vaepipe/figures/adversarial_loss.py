"""Adversarial loss against β: the value of the attack's objective, averaged as in the original paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vaepipe.analysis.families import varying_with_beta, with_posterior_width
from vaepipe.analysis.means import Measure
from vaepipe.analysis.robustness import UNMOVED
from vaepipe.figures import curves, style
from vaepipe.figures.data import Data
from vaepipe.models.family import find_family

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "Adversarial loss Δ against β"
CAPTION = """
Δ = divergence + λ‖d‖₂ is what the attack's objective came down to, averaged over pairs, λ, d_z and training
seeds as in the original paper. Higher means that the adversary did worse. Dotted lines are Δ₀, the
divergence between two undistorted images. At large λ the best distortion is none and Δ = Δ₀. So a line close
under its dotted one tells how far apart the posteriors of two images are, not how hard it is to move them.
Thin lines of dashes and dots are the median of Δ. Where it lies far below the mean, a few trials make the
mean. Δ grows with the precision of the latent code (figure precision), and for the 2-Wasserstein attack with
the scale of the latent space. Δ/Δ₀ (figure relative_loss) and the distances in image space (figures
distortion and success) do not.
"""
EMPTY = "No image data set of this study was attacked: there is no adversarial loss to show."

LineStyle = Literal[":", "-."] | tuple[float, tuple[float, float]]
"""Dots, or an offset and the lengths of dashes and gaps, points."""


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """One panel per data set and loss: plain mean over pairs, λ, d_z and seeds of divergence + λ‖d‖₂.

    Dash-dotted: the median. Dotted: the mean divergence at d = 0. The penalised objective cannot exceed it,
    and reaches it where λ is so large that the best attack is none; those trials weigh most in a plain mean.
    Dashed, where the table has it: what each row reached by itself, before the distortions of the other λ of
    its pair were tried.
    """
    # Δ of an autoencoder is another quantity: the figure distortion compares it
    frame = with_posterior_width(data.table("attacks"))
    page = curves.against_beta(
        frame,
        ["dataset", "loss"],
        measure,
        options,
        empty=EMPTY,
        quantity="adversarial_loss",
        more=references,
    )
    return page.describe(TITLE, CAPTION)


def measure(where: Mapping[str, str], rows: pd.DataFrame) -> Measure:
    """Return the objective of a panel's rows, in the unit of its loss.

    It is averaged on a logarithmic axis, unless it is negative somewhere: minus a log density, or a damage.
    """
    label = curves.with_unit("adversarial loss Δ", where["loss"])
    return Measure("objective", label, log=not (rows["objective"] < 0).any())


def references(ax: Axes, frame: pd.DataFrame) -> tuple[dict[str, Artist], str]:
    """Draw the median, the loss without distortion, and that of each row's own search; return artists by
    label, and a line for the note."""
    handles: dict[str, Artist] = _line(ax, frame, "objective", "median", "median of Δ", "-.", "median")
    handles |= _line(ax, frame, "initial_divergence", "start", "Δ₀ (d = 0)", ":")
    unmoved = 100 * (frame["norm"] < UNMOVED).mean()
    text = f"{unmoved:.0f} % of the trials have no distortion (‖d‖₂ < {UNMOVED:g}): there Δ ≈ Δ₀."
    if "own_objective" in frame:
        gain = frame["own_objective"] - frame["objective"]
        better = gain > 1e-6 * frame["own_objective"].abs()
        means = _line(ax, frame, "own_objective", "own", "each λ on its own", (0, (1.5, 1)))
        if better.any():
            handles |= means
            text += "\nDashed: what the search at each λ reached before the distortions of the pair's other λ"
            text += f" were tried; one of these was better in {100 * better.mean():.0f} % of the trials."
    return handles, text


def _line(
    ax: Axes,
    frame: pd.DataFrame,
    column: str,
    gid: str,
    label: str,
    linestyle: LineStyle,
    statistic: Literal["mean", "median"] = "mean",
) -> dict[str, Artist]:
    """Draw a column's means or medians against β as thin lines; return one artist by its label."""
    log = ax.get_yscale() == "log"
    values = {}
    where = frame.iloc[0][["dataset", "loss"]].to_dict()
    for key, value in frame.groupby(["family", "beta"])[column].agg(statistic).items():
        drawable = np.isfinite(value) and (value > 0 or not log)
        values[key] = value if drawable else np.nan
        row = {"quantity": f"{statistic} of {column}", "family": key[0], "beta": key[1], "estimate": value}
        style.page_of(ax).rows.append(where | row)
    for family in varying_with_beta(family for family, _ in values):
        look: dict[str, Any] = {"color": find_family(family).colour, "linewidth": 0.9, "linestyle": linestyle}
        betas, points = curves.line_over_beta(values, family)
        ax.plot(betas, points, marker="_" if len(betas) == 1 else "", gid=f"{gid} {family}", **look)
    if ("vae", 1.0) in values and len(values) == 1:
        ax.plot([1.0], [values["vae", 1.0]], "_", color=find_family("vae").colour, gid=f"{gid} vae")
    return {label: Line2D([], [], linestyle=linestyle, color=style.GREY, linewidth=0.9)}
