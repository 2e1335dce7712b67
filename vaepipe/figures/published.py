"""Published values, behind ours as a thin grey reference where data set, family, attack and β are the same.

`published.csv` holds points read off the figures of the two posts on Willetts et al. 2021 ("Improving VAEs'
Robustness to Adversarial Attacks", https://matthewwilletts.github.io): part 1, and part 2 with Seatbelt-VAEs
of four layers. They were read by eye: ±10 % on a linear axis, ±0.05 in log10 on a logarithmic one. ``low``
and ``high`` are the ends of the published band, where it could be read. The two parts disagree on the loss of
β-TCVAEs on chairs and faces by up to a factor of 60, so neither is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from vaepipe.analysis.families import at_beta_one
from vaepipe.figures.style import size
from vaepipe.models.family import find_family

GREY = "#b0b0b0"
STYLES = {"part 1": "-", "part 2": (0, (3, 1.5))}


@cache
def table() -> pd.DataFrame:
    """Return all published points."""
    path = Path(__file__).with_name("published.csv")
    return pd.read_csv(path, keep_default_na=False, na_values={"low": "", "high": ""})


def matching(quantity: str, where: Mapping[str, str], drawn: Iterable[tuple[str, float]]) -> pd.DataFrame:
    """Return the published rows of a panel's quantity, data set and loss, at the families and β that the
    panel draws.

    Args:
        where: the panel's ``dataset`` and, for attacks, ``loss``.
        drawn: (family, β); the VAE at β = 1 stands for every family that starts from it.
    """
    rows = table()
    rows = rows[(rows["quantity"] == quantity) & (rows["dataset"] == where["dataset"])]
    rows = rows[rows["loss"] == where.get("loss", "")]
    points = set(drawn)

    def is_drawn(family: str, beta: float) -> bool:
        return (family, beta) in points or (beta == 1 and (at_beta_one(family), 1.0) in points)

    kept = [is_drawn(family, beta) for family, beta in zip(rows["family"], rows["beta"])]
    return rows[np.array(kept, dtype=bool)]


def draw(
    ax: Axes, quantity: str, where: Mapping[str, str], drawn: Iterable[tuple[str, float]]
) -> dict[str, Artist]:
    """Draw grey lines with the family's marker and the published bands; return artists by legend label."""
    handles: dict[str, Artist] = {}
    for (source, family), rows in matching(quantity, where, drawn).groupby(["source", "family"]):
        look: dict[str, Any] = {
            "color": GREY,
            "linewidth": size(0.7),
            "linestyle": STYLES[source],
            "zorder": 0.5,
            "markersize": 2.5,
        }
        (artist,) = ax.plot(rows["beta"], rows["value"], marker=find_family(family).marker, **look)
        artist.set_gid(f"published {source} {family}")
        ends = rows.dropna(subset=["low", "high"])
        error = np.abs(ends[["low", "high"]].to_numpy().T - ends["value"].to_numpy())
        if len(ends):
            bars: dict[str, Any] = {"fmt": "none", "ecolor": GREY, "elinewidth": size(0.5), "zorder": 0.5}
            ax.errorbar(ends["beta"], ends["value"], error, **bars)
        handles[f"published ({source})"] = artist
    return handles


def note(quantity: str, where: Mapping[str, str], drawn: Iterable[tuple[str, float]]) -> str:
    """Return what the grey lines are, and how exact; empty where there are none."""
    if matching(quantity, where, drawn).empty:
        return ""
    exact = "0.05 in log10" if quantity == "adversarial_loss" else "10 %"
    return (
        f"Grey: means that the original paper's authors published, read by eye (±{exact}); other trainings."
    )
