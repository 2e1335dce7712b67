"""Attacks in pictures: from the original to the target, for the first pairs."""

from __future__ import annotations

import contextlib
import textwrap
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from vaepipe.figures import flags, style
from vaepipe.figures.registry import Data
from vaepipe.storage.h5 import open_h5, read_text
from vaepipe.study.grid import Cell

ROWS = (
    "original x",
    "its reconstruction",
    "adversarial x + d",
    "distortion d",
    "adversarial\nreconstruction",
    "target's\nreconstruction",
    "target $x_t$",
)
RULE = (
    "λ of each column: of those whose distance A = ‖rec(x + d) − $x_t$‖ is at most its mean over λ, the one with the largest "
    "A (Gondim-Ribeiro et al. 2018). Under the pictures: that λ, ‖d‖₂ with pixels in [0,1], and the loss Δ = divergence + λ‖d‖₂ "
    "in nats. Reconstructions are of one posterior sample."
)
SIDE = 64
"""Pixels to which smaller images are enlarged, so that the gaps between them can be narrow."""


@dataclass
class Column:
    """One attack: its pictures (C,H,W) uint8 in the order of `ROWS`, d (C,H,W) for the distortion; λ, ‖d‖₂ and Δ."""

    pictures: list[np.ndarray]
    lambda_: float
    norm: float
    objective: float


def best_lambda(distance: np.ndarray) -> int:
    """Row of the λ to show: among those with A at most its mean over λ, that of the largest A; of equal ones, the first.

    It is the weakest attack that still counts as a success: small distortion, reconstruction nearer to the target than usual.

    Args:
        distance: (L,) A = ‖rec(x + d) − x_t‖, λ increasing; NaN never is chosen unless all are.

    Source: ``bestC`` in the code of Gondim-Ribeiro et al. 2018.
    """
    distance = np.where(np.isfinite(distance), distance, np.nan)
    if np.isnan(distance).all():
        return 0
    mean = np.nanmean(distance)
    within = distance <= mean + 1e-9 * abs(mean)  # a mean of equal numbers may round to less than they are
    return int(np.argmax(np.where(within, distance, -np.inf)))


def columns(paths: list[str], pairs: int) -> list[Column]:
    """The first pairs' attacks in the files of one model and loss, whose λ may be divided over several files."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(open_h5(path, "attack")) for path in paths]
        rows = sorted((value, f, row) for f, file in enumerate(files) for row, value in enumerate(file["lambdas"][:]))
        distance = np.stack([files[f]["adversarial_distance"][row] for _, f, row in rows])  # L, P
        found = []
        for p in range(min(pairs, distance.shape[1])):
            lambda_, f, row = rows[best_lambda(distance[:, p])]
            file = files[f]
            d = file["distortion"][row, p]
            x, target = file["x"][p], file["target"][p]
            adversarial = np.clip(x / 255 + d, 0, 1)
            pictures = [x, file["reconstruction"][p], (adversarial * 255).round().astype("uint8"), d]
            pictures += [file["adversarial_reconstruction"][row, p], file["target_reconstruction"][p], target]
            found.append(Column(pictures, float(lambda_), float(file["norm"][row, p]), float(file["objective"][row, p])))
    return found


@style.house
def draw(data: Data, options: dict) -> style.Page:
    """A group of columns for each model (and loss) that the files hold, a column for each of ``options["pairs"]`` pairs."""
    files: dict[tuple[Cell, str], list[str]] = defaultdict(list)
    for cell, path in data.arrays:
        with open_h5(path, "attack") as file:
            files[cell, read_text(file, "loss")].append(path)
    if not files:
        return style.message("None of the models of this montage was attacked.")
    groups = {key: columns(paths, options["pairs"]) for key, paths in files.items()}
    reach = max(np.nanmax(np.abs(column.pictures[3])) for group in groups.values() for column in group)
    pairs = max(map(len, groups.values()))
    size = 0.52  # of a picture, inches
    width = max(style.COLUMN, 1.05 + len(groups) * (pairs * size + 0.12))
    figure = style.Page(figsize=(width, len(ROWS) * size + 1.25))
    axes = figure.subplots(1, len(groups), squeeze=False)[0]
    figure.get_layout_engine().set(w_pad=0.05)
    losses = {loss for _, loss in groups}
    weak = {} if data.robustness is None else flags.flagged(data.robustness)
    for ax, ((cell, loss), group) in zip(axes, groups.items()):
        _mosaic(ax, group, reach)
        rows = [vars(cell) | {"loss": loss, "pair": p, "lambda": c.lambda_, "norm": c.norm} for p, c in enumerate(group)]
        figure.rows.extend(row | {"objective": c.objective} for row, c in zip(rows, group))
        beta = f", β = {cell.beta:g}" if cell.beta else ""
        sign = f" {flags.SIGN}" if (cell.family, cell.beta) in weak else ""
        ax.set_title(style.NAMES[cell.family] + beta + sign + (f"\n{loss}" if len(losses) > 1 else ""))
    labels = [f"{row}\n(grey 0, ±{reach:.2g})" if row.startswith("distortion") else row for row in ROWS]
    side = axes[0].images[0].get_array().shape[0] / len(ROWS)
    axes[0].set_yticks([(r + 0.5) * side - 0.5 for r in range(len(ROWS))], labels)
    cell = next(iter(groups))[0]
    title = f"{cell.dataset}, $d_z$ = {cell.d_z}, training seed {cell.seed}" + (
        f", attack {losses.pop()}" if len(losses) == 1 else ""
    )
    figure.suptitle(title, fontsize=8)
    texts = [RULE, flags.said(data.robustness)] if weak else [RULE]
    note = "\n".join(textwrap.fill(text, int(22 * width)) for text in texts)
    figure.supxlabel(note, gid="note", x=0.01, ha="left", **style.SMALL)
    return figure


def _mosaic(ax, group: list[Column], reach: float) -> None:
    """All pictures of a group as one image, H,W,3, with white gaps."""
    shown = [
        [_distortion(picture, reach) if r == 3 else picture for r, picture in enumerate(column.pictures)] for column in group
    ]
    tiles = [np.concatenate([_tile(picture) for picture in column], axis=0) for column in shown]
    ax.imshow(np.concatenate(tiles, axis=1), interpolation="nearest")
    side = tiles[0].shape[1]
    texts = [
        "\n".join(f"{name} {style.short(v)}" for name, v in (("λ", c.lambda_), ("‖d‖", c.norm), ("Δ", c.objective)))
        for c in group
    ]
    ax.set_xticks([(i + 0.5) * side - 0.5 for i in range(len(group))], texts, fontsize=5.2)
    ax.set_yticks([])
    ax.tick_params(length=0, pad=1)
    ax.spines[:].set_visible(False)


def _distortion(d: np.ndarray, reach: float) -> np.ndarray:
    """Grey where d = 0, white or black (for each colour) where it is ±reach."""
    return np.nan_to_num((0.5 + 0.5 * d / (reach or 1)) * 255, nan=127.5).round().astype("uint8")


def _tile(picture: np.ndarray) -> np.ndarray:
    """(C,H,W) uint8 → (H',W',3) with a hairline frame, so that a white picture's end is seen, and a gap."""
    C, H, W = picture.shape
    enlarge = -(-SIDE // max(H, W))
    rgb = np.repeat(picture, 3, axis=0) if C == 1 else picture[:3]
    rgb = rgb.repeat(enlarge, 1).repeat(enlarge, 2).transpose(1, 2, 0)
    framed = np.pad(rgb, ((1, 1), (1, 1), (0, 0)), constant_values=190)
    gap = max(2, len(framed) // 24)
    return np.pad(framed, ((gap, gap), (gap, gap), (0, 0)), constant_values=255)
