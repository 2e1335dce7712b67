"""Adversarial loss over the whole grid, β × d_z."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from vaepipe.analysis.families import at_beta_one, label, varying_with_beta
from vaepipe.analysis.formatting import count, short
from vaepipe.analysis.trials import is_flagged
from vaepipe.attacks.loss import find_loss
from vaepipe.figures import curves, flags, notes, style
from vaepipe.figures.adversarial_loss import EMPTY
from vaepipe.figures.data import Data

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "Adversarial loss Δ over the grid β × d_z"
CAPTION = """
The mean of Δ over pairs, λ and seeds of each model, in the unit of the attack's loss. β = 1 is the VAE, the
same model for all families that share it. The colours of a row have one scale. It begins at 0 where no value
is negative. Compare along a row of cells and not between rows, because Δ grows with the number of latents
and with their scale. A dash stands where the study has no such model.
"""
CellOfGrid = tuple[str, float, int]
"""(family, β, d_z) of a model."""
STEEP = 100
"""Largest mean / smallest from which on the colours are logarithmic."""


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """A row per data set and loss, a panel per family: mean over pairs, λ and seeds of Δ, its value in each
    cell."""
    frame = data.table("attacks")
    frame = frame[frame["beta"] > 0]
    groups = list(frame.groupby(["dataset", "loss"], sort=False))
    if not groups:
        return style.message(EMPTY, options).describe(TITLE, CAPTION)
    families = varying_with_beta(frame["family"]) or ["vae"]
    sizes = [rows["d_z"].nunique() for _, rows in groups]
    unit = style.LOOKS[options.style].text / 8
    height = 0.55 + sum(0.5 + 0.28 * n for n in sizes)
    page = style.Page(figsize=(style.width_of(options), height * unit), options=options)
    ratios = {"height_ratios": [n + 0.4 for n in sizes]}
    axes = page.subplots(len(groups), len(families), squeeze=False, gridspec_kw=ratios)
    for row, ((dataset, loss), rows) in zip(axes, groups):
        _row(row, families, rows, {"dataset": dataset, "loss": loss})
    for ax, family in zip(axes[0], families):
        ax.set_title(label(family))
    for ax in axes[-1]:
        ax.set_xlabel("β")
    page.line("mean Δ in each cell, in the unit of its row")
    return page.describe(TITLE, CAPTION)


def _row(axes: np.ndarray, families: list[str], frame: pd.DataFrame, where: dict[str, str]) -> None:
    """Draw the panels of one data set and loss, with one scale of colours and its bar."""
    groups = frame.assign(flagged=is_flagged(frame)).groupby(["family", "beta", "d_z"])
    means, flagged = groups["objective"].mean().to_dict(), groups["flagged"].any().to_dict()
    values = np.array([value for value in means.values() if np.isfinite(value)])
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    norm = Normalize(min(low, 0.0), high if high > 0 else 0.0)
    if low > 0 and high / low > STEEP:
        norm = LogNorm(low, high)
    image = None
    for ax, family in zip(axes, families):
        image = _panel(ax, family, frame, means, flagged, norm)
        for x, beta in enumerate(_betas(frame, family)):
            for y, d_z in enumerate(_d_zs(frame)):
                row = {**where, "family": family, "beta": beta, "d_z": d_z}
                mean = means.get(_model(family, beta, d_z), np.nan)
                style.add_row(ax, row | {"objective": mean}, x if np.isfinite(mean) else np.nan, y)
    axes[0].set_ylabel(f"{where['dataset']}, $d_z$")
    bar = axes[0].figure.colorbar(image, ax=list(axes), pad=0.01, aspect=12)
    bar.ax.tick_params(labelsize=style.size(6))
    bar.outline.set_visible(False)
    bar.locator = MaxNLocator(3)
    title = textwrap.fill(f"{curves.words('loss', where['loss'])}, {find_loss(where['loss']).unit}", 18)
    bar.set_label(title, fontsize=style.size(6.5))
    pairs, seeds = count(frame["pair"].nunique(), "pairs"), count(frame["seed"].nunique(), "seeds")
    sizes = f"Each cell: {pairs} × {frame['lam'].nunique()} λ × {seeds}."
    curves.say(axes[0], where, sizes, notes.lambda_range(frame), flags.note(frame))


def _panel(
    ax: Axes,
    family: str,
    frame: pd.DataFrame,
    means: Mapping[CellOfGrid, float],
    flagged: Mapping[CellOfGrid, bool],
    norm: Normalize,
) -> AxesImage:
    """Draw the means of one family as colours and numbers."""
    betas, d_zs = _betas(frame, family), _d_zs(frame)
    models = [[_model(family, beta, d_z) for beta in betas] for d_z in d_zs]
    table = np.array([[means.get(model, np.nan) for model in row] for row in models]).reshape(
        len(d_zs), len(betas)
    )
    image = ax.imshow(table, norm=norm, cmap="cividis", aspect="auto")
    for (i, j), value in np.ndenumerate(table):
        dark = np.isfinite(value) and float(norm(value)) < 0.55
        text = short(value) if np.isfinite(value) else "–"
        if flagged.get(models[i][j], False):
            text += flags.SIGN
        ax.text(
            j, i, text, ha="center", va="center", fontsize=style.size(6.5), color="white" if dark else "black"
        )
    ax.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
    ax.set_yticks(range(len(d_zs)), [str(d_z) for d_z in d_zs])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return image


def _betas(frame: pd.DataFrame, family: str) -> list[float]:
    """Return the β of a family, with 1 where the model it starts from is there."""
    betas = set(frame.loc[frame["family"] == family, "beta"])
    starts = set(frame.loc[frame["family"] == at_beta_one(family), "beta"])
    return sorted(betas | (starts & {1.0}))


def _d_zs(frame: pd.DataFrame) -> list[int]:
    return sorted(frame["d_z"].unique(), reverse=True)


def _model(family: str, beta: float, d_z: int) -> CellOfGrid:
    return (at_beta_one(family) if beta == 1 else family, beta, d_z)
