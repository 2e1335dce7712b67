"""Adversarial loss over the whole grid, β × d_z."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize

from vaepipe.analysis.families import at_beta_one, label, varying_with_beta
from vaepipe.analysis.formatting import count, short
from vaepipe.analysis.trials import is_flagged
from vaepipe.attacks.loss import find_loss
from vaepipe.figures import curves, flags, notes, style
from vaepipe.figures.adversarial_loss import EMPTY
from vaepipe.figures.data import Data

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

CAPTION = r"""
Adversarial loss over the grid β × d\ :sub:`z`, a panel for each family, in the unit of the attack's loss.

{attacks} {flags} {intervals}
"""
CellOfGrid = tuple[str, float, int]
"""(family, β, d_z) of a model."""


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """A row per data set and loss, a panel per family: mean over pairs, λ and seeds of Δ, its value in each
    cell."""
    frame = data.table("attacks")
    frame = frame[frame["beta"] > 0]
    groups = list(frame.groupby(["dataset", "loss"], sort=False))
    if not groups:
        return style.message(EMPTY)
    families = varying_with_beta(frame["family"]) or ["vae"]
    sizes = [rows["d_z"].nunique() for _, rows in groups]
    width = style.COLUMN * (2 if len(families) > 1 else 1)
    page = style.Page(figsize=(width, 0.6 + sum(0.95 + 0.26 * n for n in sizes)))
    ratios = {"height_ratios": [n + 2 for n in sizes]}
    axes = page.subplots(len(groups), len(families), squeeze=False, gridspec_kw=ratios)
    for row, ((dataset, loss), rows) in zip(axes, groups):
        _row(row, families, rows, {"dataset": dataset, "loss": loss})
    page.supxlabel(_note(frame), gid="note", x=0.01, ha="left", **style.SMALL)
    return page


def _row(axes: np.ndarray, families: list[str], frame: pd.DataFrame, where: dict[str, str]) -> None:
    """Draw the panels of one data set and loss, with one scale of colours."""
    groups = frame.assign(flagged=is_flagged(frame)).groupby(["family", "beta", "d_z"])
    means, flagged = groups["objective"].mean().to_dict(), groups["flagged"].any().to_dict()
    values = np.array([value for value in means.values() if np.isfinite(value)])
    norm = Normalize()
    if len(values):
        scale = LogNorm if values.min() > 0 else Normalize
        norm = scale(values.min(), values.max())
    for ax, family in zip(axes, families):
        _panel(ax, family, frame, means, flagged, norm)
        ax.set(title=f"{curves.title(where)}\n{label(family)}", xlabel="β")
        for beta in _betas(frame, family):
            for d_z in _d_zs(frame):
                row = {**where, "family": family, "beta": beta, "d_z": d_z}
                row |= {"objective": means.get(_model(family, beta, d_z), np.nan)}
                style.page_of(ax).rows.append(row)
    axes[0].set_ylabel("$d_z$")


def _panel(
    ax: Axes,
    family: str,
    frame: pd.DataFrame,
    means: Mapping[CellOfGrid, float],
    flagged: Mapping[CellOfGrid, bool],
    norm: Normalize,
) -> None:
    """Draw the means of one family as colours and numbers."""
    betas, d_zs = _betas(frame, family), _d_zs(frame)
    models = [[_model(family, beta, d_z) for beta in betas] for d_z in d_zs]
    table = np.array([[means.get(model, np.nan) for model in row] for row in models]).reshape(
        len(d_zs), len(betas)
    )
    ax.imshow(table, norm=norm, cmap="cividis", aspect="auto")
    for (i, j), value in np.ndenumerate(table):
        dark = np.isfinite(value) and float(norm(value)) < 0.55
        text = short(value) if np.isfinite(value) else "–"
        if flagged.get(models[i][j], False):
            text += flags.SIGN
        ax.text(j, i, text, ha="center", va="center", fontsize=6, color="white" if dark else "black")
    ax.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
    ax.set_yticks(range(len(d_zs)), [str(d_z) for d_z in d_zs])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _betas(frame: pd.DataFrame, family: str) -> list[float]:
    """Return the β of a family, with 1 where the model it starts from is there."""
    betas = set(frame.loc[frame["family"] == family, "beta"])
    starts = set(frame.loc[frame["family"] == at_beta_one(family), "beta"])
    return sorted(betas | (starts & {1.0}))


def _d_zs(frame: pd.DataFrame) -> list[int]:
    return sorted(frame["d_z"].unique(), reverse=True)


def _model(family: str, beta: float, d_z: int) -> CellOfGrid:
    return (at_beta_one(family) if beta == 1 else family, beta, d_z)


def _note(frame: pd.DataFrame) -> str:
    units = {loss: find_loss(loss).unit for loss in frame["loss"].unique()}
    unit = ", ".join(dict.fromkeys(units.values()))
    if len(set(units.values())) > 1:
        unit = "; ".join(f"{loss} in {unit}" for loss, unit in units.items())
    pairs, seeds = count(frame["pair"].nunique(), "pairs"), count(frame["seed"].nunique(), "seeds")
    lines = [
        f"Mean Δ over {pairs}, {frame['lambda'].nunique()} λ and {seeds}. {notes.lambda_range(frame)}",
        f"Unit: {unit}.",
        "Colours: cividis, one scale per row; –: no such model."
        + (f" {flags.SIGN}: too weak by its checks, do not call robust." if is_flagged(frame).any() else ""),
    ]
    scale = (
        "Δ grows with the number of latents and their scale: compare along β, not along $d_z$. β = 1 "
        "is the VAE."
    )
    return notes.joined([f"{lines[0]} {lines[2]}", lines[1], scale])
