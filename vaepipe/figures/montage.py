"""Attacks in pictures: from the original to the target, for the first pairs."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from vaepipe.analysis.families import label
from vaepipe.analysis.formatting import short
from vaepipe.analysis.trials import best_lambda
from vaepipe.attacks.loss import find_loss
from vaepipe.figures import flags, notes, style
from vaepipe.figures.data import Data
from vaepipe.study.cells import Cell

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

CAPTION = r"""
The first {shown_pairs} of {pairs} pairs, for the models whose β and d\ :sub:`z` are nearest to {beta} and
{d_z}. Of {lambdas} λ each column shows the one chosen as by Gondim-Ribeiro et al. 2018: among those whose
reconstruction is at most as far from the target as it is on average over λ, the one farthest from it, which
is the weakest attack that still succeeds. {flags}
"""
ROWS = (
    "original x",
    "its reconstruction",
    "adversarial x + d",
    "distortion d",
    "adversarial\nreconstruction",
    "target's\nreconstruction",
    "target $x_t$",
)
DISTORTION = ROWS.index("distortion d")
RULE = (
    "λ of each column: of those whose distance A = ‖rec(x + d) − $x_t$‖ is at most its mean over λ, "
    "the one with the largest "
    "A (Gondim-Ribeiro et al. 2018). Under the pictures: that λ, ‖d‖₂ with pixels in [0,1], and the loss "
    "Δ = divergence + λ‖d‖₂ in {unit}. Reconstructions are of one posterior sample."
)
SIDE = 64
"""Pixels to which smaller images are enlarged, so that the gaps between them can be narrow."""
SIZE = 0.52
"""Of a picture on the page, inches."""


@dataclass
class Column:
    """One attack: its pictures (C,H,W) uint8 in the order of `ROWS`, d (C,H,W) for the distortion; λ, ‖d‖₂
    and Δ."""

    pictures: list[np.ndarray]
    lambda_: float
    norm: float
    objective: float


Groups = dict[tuple[Cell, str], list[Column]]
"""(cell, loss) → its columns."""


def columns(arrays: Mapping[str, np.ndarray]) -> list[Column]:
    """Return a column for each pair: the attack at the λ that `best_lambda` chooses.

    Args:
        arrays: of the attack and measure files of one model and loss, as `vaepipe.figures.registry` names
            them.
    """
    made = []
    for p, distance in enumerate(arrays["adversarial_distance"].T):
        row = best_lambda(distance)
        x, d = arrays["x"][p], arrays["distortion"][row, p]
        adversarial = (np.clip(x / 255 + d, 0, 1) * 255).round().astype("uint8")
        rebuilt, rebuilt_target = arrays["reconstruction"][p], arrays["target_reconstruction"][p]
        pictures = [x, rebuilt, adversarial, d, arrays["adversarial_reconstruction"][row, p]]
        pictures += [rebuilt_target, arrays["target"][p]]
        norm, objective = float(arrays["norm"][row, p]), float(arrays["objective"][row, p])
        made.append(Column(pictures, float(arrays["lambdas"][row]), norm, objective))
    return made


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """A group of columns for each model and loss, a column for each pair."""
    groups: Groups = {(item.cell, item.attributes["loss"]): columns(item.arrays) for item in data.arrays}
    if not groups:
        return style.message("None of the models of this montage was attacked.")
    reach = max(np.nanmax(np.abs(c.pictures[DISTORTION])) for group in groups.values() for c in group)
    pairs = max(map(len, groups.values()))
    width = max(style.COLUMN, 1.05 + len(groups) * (pairs * SIZE + 0.12))
    figure = style.Page(figsize=(width, len(ROWS) * SIZE + 1.25))
    axes = figure.subplots(1, len(groups), squeeze=False)[0]
    figure.set_layout_engine("constrained", w_pad=0.05)
    losses = list(dict.fromkeys(loss for _, loss in groups))
    flagged = {} if data.robustness is None else flags.flagged(data.robustness)
    for ax, ((cell, loss), group) in zip(axes, groups.items()):
        _mosaic(ax, group, reach)
        for p, column in enumerate(group):
            numbers = {"lambda": column.lambda_, "norm": column.norm, "objective": column.objective}
            figure.rows.append(vars(cell) | {"loss": loss, "pair": p} | numbers)
        ax.set_title(_title(cell, (cell.family, cell.beta) in flagged, loss if len(losses) > 1 else ""))
    labels = [f"{row}\n(grey 0, ±{reach:.2g})" if r == DISTORTION else row for r, row in enumerate(ROWS)]
    side = axes[0].images[0].get_array().shape[0] / len(ROWS)
    axes[0].set_yticks([(r + 0.5) * side - 0.5 for r in range(len(ROWS))], labels)
    first = next(iter(groups))[0]
    attack = f", attack {losses[0]}" if len(losses) == 1 else ""
    figure.suptitle(f"{first.dataset}, $d_z$ = {first.d_z}, training seed {first.seed}{attack}", fontsize=8)
    note = _note(losses, data.robustness, int(22 * width))
    figure.supxlabel(note, gid="note", x=0.01, ha="left", **style.SMALL)
    return figure


def _title(cell: Cell, flagged: bool, loss: str) -> str:
    beta = f", β = {cell.beta:g}" if cell.beta else ""
    sign = f" {flags.SIGN}" if flagged else ""
    return label(cell.family) + beta + sign + (f"\n{loss}" if loss else "")


def _note(losses: list[str], robustness: pd.DataFrame | None, width: int) -> str:
    units = dict.fromkeys(find_loss(loss).unit for loss in losses)
    texts = [RULE.format(unit=" or ".join(units)), "" if robustness is None else flags.note(robustness)]
    return notes.joined(textwrap.fill(text, width) for text in texts)


def _mosaic(ax: Axes, group: list[Column], reach: float) -> None:
    """Draw all pictures of a group as one image, H,W,3, with white gaps, and the numbers under it."""
    tiles = []
    for column in group:
        pictures = list(column.pictures)
        pictures[DISTORTION] = _distortion(pictures[DISTORTION], reach)
        tiles.append(np.concatenate([_tile(picture) for picture in pictures], axis=0))
    ax.imshow(np.concatenate(tiles, axis=1), interpolation="nearest")
    side = tiles[0].shape[1]
    texts = [f"λ {short(c.lambda_)}\n‖d‖ {short(c.norm)}\nΔ {short(c.objective)}" for c in group]
    ax.set_xticks([(i + 0.5) * side - 0.5 for i in range(len(group))], texts, fontsize=5.2)
    ax.set_yticks([])
    ax.tick_params(length=0, pad=1)
    ax.spines[:].set_visible(False)


def _distortion(d: np.ndarray, reach: float) -> np.ndarray:
    """Return a picture that is grey where d = 0, white or black (for each colour) where it is ±reach."""
    return np.nan_to_num((0.5 + 0.5 * d / (reach or 1)) * 255, nan=127.5).round().astype("uint8")


def _tile(picture: np.ndarray) -> np.ndarray:
    """Return (C,H,W) uint8 as (H',W',3) with a hairline frame, so that a white picture's edge shows, and a
    gap."""
    channels, height, width = picture.shape
    enlarge = -(-SIDE // max(height, width))
    rgb = np.repeat(picture, 3, axis=0) if channels == 1 else picture[:3]
    rgb = rgb.repeat(enlarge, 1).repeat(enlarge, 2).transpose(1, 2, 0)
    framed = np.pad(rgb, ((1, 1), (1, 1), (0, 0)), constant_values=190)
    gap = max(2, len(framed) // 24)
    return np.pad(framed, ((gap, gap), (gap, gap), (0, 0)), constant_values=255)
