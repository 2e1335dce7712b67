"""Log likelihood log p(x|z) of held-out data, z ~ q(z|x), against β."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.figures import quality, style
from vaepipe.figures.data import Data

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

CAPTION = r"""
log p(x|z) of held-out data with z from q(z|x), nats per image, summed over pixels, against β. Images:
{images}.

{intervals}
"""


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """One panel per data set."""
    return quality.page(data, options, "log_likelihood", "log p(x|z)", published="likelihood")
