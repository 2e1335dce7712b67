"""Pictures of what models draw: reconstructions, samples of the prior and traversals, a block per model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vaepipe.analysis.families import label
from vaepipe.figures import style
from vaepipe.figures.data import CellArrays, Data
from vaepipe.figures.montage import tile

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

Block = Callable[[CellArrays], tuple[np.ndarray, list[str]]]
"""One model → (R, K, C, H, W) pictures in [0,1] and the names of its R rows."""


def page(data: Data, options: Plot, block: Block, title: str, caption: str, line: str) -> style.Page:
    """Return a page with a block of pictures for each model, side by side.

    Args:
        line: the one line of text on the page.
    """
    if not data.arrays:
        return style.message("The study has no such models.", options).describe(title, caption)
    blocks = [block(item) for item in data.arrays]
    columns = sum(pictures.shape[1] for pictures, _ in blocks)
    rows = max(pictures.shape[0] for pictures, _ in blocks)
    unit, width = style.LOOKS[options.style].text / 8, style.width_of(options)
    each = (width - 0.6 * unit) / columns
    figure = style.Page(figsize=(width, rows * each + 0.6 * unit), options=options)
    figure.set_layout_engine("constrained", w_pad=0.03, h_pad=0.02)
    ratios = [pictures.shape[1] for pictures, _ in blocks]
    axes = figure.subplots(1, len(blocks), squeeze=False, width_ratios=ratios)[0]
    for ax, item, (pictures, names) in zip(axes, data.arrays, blocks):
        mosaic = np.concatenate([np.concatenate([tile(_byte(p)) for p in row], 1) for row in pictures], 0)
        ax.imshow(mosaic, interpolation="nearest")
        side = mosaic.shape[0] / len(pictures)
        shown = names if ax is axes[0] or names != blocks[0][1] else [""] * len(names)
        places = [(i + 0.5) * side - 0.5 for i in range(len(names))]
        ax.set_yticks(places, shown, fontsize=style.size(6.5))
        ax.set_xticks([])
        ax.tick_params(length=0, pad=1)
        ax.spines[:].set_visible(False)
        beta = f", β = {item.cell.beta:g}" if item.cell.beta else ""
        ax.set_title(label(item.cell.family) + beta, fontsize=style.size(7.5))
        figure.rows += [vars(item.cell) | {"row": name, "pictures": pictures.shape[1]} for name in names]
    cell = data.arrays[0].cell
    figure.caption.say("", f"Shown: {cell.dataset}, d_z = {cell.d_z}, training seed {cell.seed}.")
    figure.line(f"{cell.dataset}, $d_z$ = {cell.d_z}", line)
    return figure.describe(f"{title}: {cell.dataset}", caption)


def in_rows(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Return pictures (N, C, H, W) as (R, columns, C, H, W), without those that fill no row."""
    rows = len(pictures) // columns
    return pictures[: rows * columns].reshape(rows, columns, *pictures.shape[1:])


def scaled(x: np.ndarray) -> np.ndarray:
    """Return images 0..255 in [0,1]."""
    return x / 255 if x.dtype == np.uint8 else x


def shown_columns(data: Data, options: Plot, most: int, wanted: Sequence[float] = (0.33, 0.2)) -> int:
    """Return how many columns of pictures each model has room for, at most ``most``."""
    least = wanted[0] if options.width == "page" else wanted[1]
    room = style.width_of(options) / (least * style.LOOKS[options.style].text / 8)
    return max(1, min(most, int(room / max(len(data.arrays), 1))))


def _byte(picture: np.ndarray) -> np.ndarray:
    return (np.clip(np.nan_to_num(picture), 0, 1) * 255).round().astype("uint8")
