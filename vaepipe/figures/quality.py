"""Model quality against β: log likelihood and ELBO of held-out data."""

from __future__ import annotations

from vaepipe.figures import curves, style
from vaepipe.figures.registry import Data


@style.house
def draw(data: Data, options: dict, *, column: str, label: str) -> style.Page:
    """One panel per data set: mean of ``column`` of the table ``images`` over held-out images, d_z and seeds, in nats."""
    empty = "No model of this study was evaluated."
    frame = data.images[data.images["family"] != "ae"]  # it has no ELBO
    quantity = {"log_likelihood": "likelihood"}.get(column, column)
    return curves.against_beta(
        frame, ["dataset"], lambda where, _: measure(where["dataset"], column, label), options, empty=empty, quantity=quantity
    )


def measure(dataset: str, column: str, label: str) -> curves.Measure:
    """A number of every held-out image or point."""
    things = style.things(dataset)
    return curves.Measure(
        column,
        f"{label}, nats per {things[:-1]}",
        rows="rows",
        averaged={"image": things, "d_z": "$d_z$", "seed": "seeds"},
        clusters={"image": f"held-out {things}", "seed": "training seeds"},
    )
