"""ELBO of held-out data and its two terms against β, taken at β = 1 whatever the model was trained with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.analysis.families import with_posterior_width
from vaepipe.analysis.formatting import singular
from vaepipe.analysis.means import Measure
from vaepipe.figures import curves, style
from vaepipe.figures.data import Data

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

TITLE = "ELBO of held-out data and its two terms against β"
CAPTION = """
The ELBO at β = 1, whatever β the model was trained with, and its two terms: ELBO = log p(x|z) − KL. Here z
is one sample of q(z|x), log p(x|z) is summed over pixels, and the KL divergence is that to the prior. The
fall of the ELBO is what a larger β costs. Where the KL is near 0, the model has stopped using its latent
space.
"""
EMPTY = "No model of this study was evaluated."
TERMS = {"elbo": "ELBO", "log_likelihood": "log p(x|z)", "kl": "KL"}
PUBLISHED = {"elbo": "elbo", "log_likelihood": "likelihood"}
"""Column → the published quantity that stands behind it."""


@style.styled
def draw(data: Data, options: Plot) -> style.Page:
    """A row of panels per data set: means over held-out rows, d_z and seeds, in nats."""
    frame = with_posterior_width(data.table("images"))  # an autoencoder has no ELBO
    panels = [
        curves.Panel(
            {"dataset": dataset, "term": TERMS[column]},
            rows,
            measure(data.rows_called(str(dataset)), column),
            PUBLISHED.get(column, ""),
        )
        for dataset, rows in frame.groupby("dataset", sort=False)
        for column in TERMS
    ]
    page = curves.page(panels, options, share_y=False) if panels else style.message(EMPTY, options)
    return page.describe(TITLE, CAPTION)


def measure(things: str, column: str) -> Measure:
    """Return the mean of a column of `TERMS` over held-out rows, which are called ``things``, plural."""
    return Measure(
        column,
        f"nats per {singular(things)}",
        rows="rows",
        averaged={"image": things, "d_z": "d_z", "seed": "seeds"},
        clusters={"image": f"held-out {things}", "seed": "training seeds"},
    )
