"""Model quality against β: a number of every held-out image or point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vaepipe.analysis.families import with_posterior_width
from vaepipe.analysis.formatting import singular
from vaepipe.analysis.means import Measure
from vaepipe.figures import curves, style
from vaepipe.figures.data import Data

if TYPE_CHECKING:
    from vaepipe.study.settings import Plot

EMPTY = "No model of this study was evaluated."


def page(data: Data, options: Plot, column: str, label: str, published: str) -> style.Page:
    """Return a page with one panel per data set: mean of a column of the table images over rows, d_z and
    seeds, in nats.

    Args:
        label: of the axis.
        published: quantity of `vaepipe.figures.published` that stands behind it.
    """
    frame = with_posterior_width(data.table("images"))  # an autoencoder has no ELBO

    def panel_measure(where: Mapping[str, str], _rows: object) -> Measure:
        return measure(data.rows_called(where["dataset"]), column, label)

    return curves.against_beta(frame, ["dataset"], panel_measure, options, empty=EMPTY, quantity=published)


def measure(things: str, column: str, label: str) -> Measure:
    """Return the mean of a column over held-out rows, which are called ``things``, plural."""
    return Measure(
        column,
        f"{label}, nats per {singular(things)}",
        rows="rows",
        averaged={"image": things, "d_z": "$d_z$", "seed": "seeds"},
        clusters={"image": f"held-out {things}", "seed": "training seeds"},
    )
