"""Traversals of single latent dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vaepipe.figures import pictures, style
from vaepipe.figures.data import CellArrays, Data

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "Latent traversals"
CAPTION = """
Means of p(x|z) where one latent dimension goes from −3 to 3 standard deviations of the prior. The others
stay at the posterior mean of the first held-out image. Each row is a dimension, and its number stands beside
it. Those with the largest KL come first. A row that does not change is a dimension that the decoder ignores.
"""


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """A block per model, a row per dimension."""

    def block(item: CellArrays) -> tuple[np.ndarray, list[str]]:
        return item.arrays["traversal"], [f"$z_{{{d}}}$" for d in item.arrays["traversed"]]

    return pictures.page(data, options, block, TITLE, CAPTION, "one dimension from −3 to 3 in each row")
