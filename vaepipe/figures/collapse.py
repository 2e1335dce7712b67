"""Is a latent space still used? Numbers that tell a robust model from one that collapsed or blew up."""

from __future__ import annotations

import numpy as np

from vaepipe.analysis.intervals import Interval, clustered_interval
from vaepipe.figures import curves, style
from vaepipe.figures.registry import Data

PANELS = {
    "used": "share of latents active",
    "kl": "KL, nats",
    "total_correlation": "total correlation, nats",
    "width": "‖σ‖₂ / √$d_z$",
    "mean_norm": "‖μ‖₂",
}


@style.house
def draw(data: Data, options: dict) -> style.Page:
    """A row per data set, against β: active latents, KL, exact total correlation, width and reach of the posteriors.

    A collapsed model has few active latents, little KL and ‖σ‖₂ = √d_z; an exploded one has ‖μ‖₂ far above √d_z.
    """
    frame = data.models[data.models["family"] != "ae"]
    frame = frame.assign(used=frame["active_units"] / frame["d_z"], width=frame["sigma_norm"] / np.sqrt(frame["d_z"]))
    groups = list(frame.groupby("dataset", sort=False))
    if not groups:
        return style.message("No model with posteriors was evaluated in this study.")
    page = style.Page(figsize=(2 * style.COLUMN, 1.95 * len(groups) + 0.3))
    parts = page.subfigures(len(groups), 1, squeeze=False)[:, 0]
    handles: dict = {}
    for part, (dataset, rows) in zip(parts, groups):
        row = part.subplots(1, len(PANELS))
        for ax, (column, label) in zip(row, PANELS.items()):
            found = {key: _over_seeds(its, column, options["resamples"]) for key, its in rows.groupby(["family", "beta"])}
            handles |= curves.draw_curves(ax, found)
            ax.set_title(label, fontsize=7)
            ax.tick_params(labelsize=6)
            page.rows.extend(
                {"dataset": dataset, "quantity": column, "family": f, "beta": b, **i._asdict()} for (f, b), i in found.items()
            )
        row[0].set_ylabel(dataset)
        part.supxlabel(_note(rows, options["resamples"]), gid="note", x=0.01, ha="left", **style.SMALL)
    style.legend(page, handles)
    return page


def _over_seeds(rows, column: str, resamples: int) -> Interval:
    return clustered_interval(rows[column], [rows["seed"]], resamples=resamples)


def _note(rows, resamples: int) -> str:
    odd = [
        f"{style.NAMES[r.family]} β = {r.beta:g}, $d_z$ = {r.d_z}, seed {r.seed} {r.state}"
        for r in rows[rows["state"] != "ok"].itertuples()
    ]
    more = f"; and {len(odd) - 3} more" if len(odd) > 3 else ""
    told = f"{'; '.join(odd[:3])}{more}." if odd else "No model collapsed or exploded."
    seeds = style.count(rows["seed"].nunique(), "seeds")
    first = f"Mean over {rows['d_z'].nunique()} $d_z$ and {seeds}, top layer, {style.count(len(rows), 'models')}. {told}"
    return first + "\n" + curves.resampled(rows, {"seed": "training seeds"}, resamples, "band")
