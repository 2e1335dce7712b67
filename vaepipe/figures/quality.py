"""Model quality against β: log likelihood and ELBO of held-out data."""

from __future__ import annotations

from matplotlib.figure import Figure

from vaepipe.figures import Data, curves, style


@style.house
def draw(data: Data, options: dict, *, column: str, label: str) -> Figure:
    """One panel per data set: mean of ``column`` of the table ``images`` over held-out images, d_z and seeds, in nats."""
    groups = list(data.images.groupby("dataset", sort=False))
    if not groups:
        return style.message("No model of this study was evaluated.")
    figure, axes = style.panels(len(groups), 2.7)
    handles: dict = {}
    for ax, (dataset, frame) in zip(axes, groups):
        things = style.things(dataset)
        clusters = {"image": f"held-out {things}", "seed": "training seeds"}
        found = curves.points(frame, column, tuple(clusters), options["resamples"])
        handles |= curves.draw_curves(ax, found)
        ax.set_title(dataset)
        ax.set_ylabel(f"{label}, nats per {things[:-1]}")
        averaged = {"image": things, "d_z": "$d_z$", "seed": "seeds"}
        style.note(ax, curves.describe(frame, found, "rows", averaged, clusters, options["resamples"]))
    style.legend(figure, handles)
    return figure
