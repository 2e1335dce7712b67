"""ELBO of held-out data, taken at β = 1 whatever the model was trained with, against β."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.figures import quality, style
from vaepipe.figures.data import Data

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

CAPTION = r"""
ELBO of held-out data at β = 1, whatever β the model was trained with, nats per image, against β: what
robustness costs. Images: {images}.

{intervals}
"""
LABEL = "ELBO (at β = 1)"


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """One panel per data set."""
    return quality.page(data, options, "elbo", LABEL, published="elbo")
