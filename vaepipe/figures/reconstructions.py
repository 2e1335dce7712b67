"""Held-out images and their reconstructions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vaepipe.figures import pictures, style
from vaepipe.figures.data import CellArrays, Data

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "Reconstructions of held-out images"
CAPTION = """
The first held-out images and, below each, the mean of p(x|z) at one sample z ~ q(z|x). This is what an
attack starts from. The models are those whose β and d_z are nearest to plot.beta and plot.d_z.
"""
ROWS = 3


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """A block per model, rows of originals and reconstructions in turn."""
    columns = pictures.shown_columns(data, options, 7)

    def block(item: CellArrays) -> tuple[np.ndarray, list[str]]:
        originals = pictures.in_rows(pictures.scaled(item.arrays["x"]), columns)[:ROWS]
        rebuilt = pictures.in_rows(item.arrays["reconstruction"], columns)[:ROWS]
        rows = np.stack([originals, rebuilt], 1)
        return rows.reshape(-1, *rows.shape[2:]), ["x", "rebuilt"] * len(originals)

    return pictures.page(data, options, block, TITLE, CAPTION, "x above its reconstruction")
