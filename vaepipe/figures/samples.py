"""Samples of the prior, decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vaepipe.figures import pictures, style
from vaepipe.figures.data import CellArrays, Data

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "Samples of the prior"
CAPTION = """
Means of p(x|z) at samples z of the prior, the same z for all models of one d_z. Where they look unlike the
data, q(z) fills the prior badly. The models are those whose β and d_z are nearest to plot.beta and plot.d_z.
"""
COLUMNS = 4


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """A block of samples per model."""

    def block(item: CellArrays) -> tuple[np.ndarray, list[str]]:
        rows = pictures.in_rows(item.arrays["prior_sample"], COLUMNS)
        return rows, [""] * len(rows)

    return pictures.page(data, options, block, TITLE, CAPTION, "means of p(x|z), z from the prior")
