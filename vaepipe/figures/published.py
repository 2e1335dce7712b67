"""Published values, behind ours as a thin grey reference where data set, family, attack and β are the same.

`published.csv` holds points read off the figures of the two posts on Willetts et al. 2021 ("Improving VAEs' Robustness to
Adversarial Attacks", https://matthewwilletts.github.io): part 1, and part 2 with Seatbelt-VAEs of four layers. They were read by
eye: ±10 % on a linear axis, ±0.05 in log10 on a logarithmic one. ``low`` and ``high`` are the ends of the published band, where
it could be read. The two parts disagree on the loss of β-TCVAEs on chairs and faces by up to a factor of 60, so neither is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vaepipe.figures import style

GREY = "#9a9a9a"
STYLES = {"part 1": "-", "part 2": (0, (3, 1.5))}


@cache
def table() -> pd.DataFrame:
    return pd.read_csv(Path(__file__).with_name("published.csv"), keep_default_na=False, na_values={"low": "", "high": ""})


def matching(quantity: str, where: Mapping[str, str], drawn: Iterable[tuple[str, float]]) -> pd.DataFrame:
    """Published rows of a panel's quantity, data set and loss, at the families and β that the panel draws.

    Args:
        where: the panel's ``dataset`` and, for attacks, ``loss``.
        drawn: (family, β); the VAE at β = 1 stands for every family that starts from it.
    """
    found = table()
    found = found[(found["quantity"] == quantity) & (found["dataset"] == where["dataset"])]
    found = found[found["loss"] == where.get("loss", "")]
    pairs = set(drawn)
    own = [(f, b) in pairs or (b == 1 and (style.base(f), 1.0) in pairs) for f, b in zip(found["family"], found["beta"])]
    return found[np.array(own, dtype=bool)]


def draw(ax: Axes, quantity: str, where: Mapping[str, str], drawn: Iterable[tuple[str, float]]) -> dict[str, Line2D]:
    """Grey lines, with the family's marker, and the published bands; returns artists by legend label."""
    handles = {}
    for (source, family), rows in matching(quantity, where, drawn).groupby(["source", "family"]):
        look = {"color": GREY, "linewidth": 0.7, "linestyle": STYLES[source], "zorder": 0.5}
        (artist,) = ax.plot(rows["beta"], rows["value"], marker=style.MARKERS[family], markersize=2.5, **look)
        artist.set_gid(f"published {source} {family}")
        ends = rows.dropna(subset=["low", "high"])
        error = np.abs(ends[["low", "high"]].to_numpy().T - ends["value"].to_numpy())
        if len(ends):
            ax.errorbar(ends["beta"], ends["value"], error, fmt="none", ecolor=GREY, elinewidth=0.5, zorder=0.5)
        handles[f"published, {source}"] = artist
    return handles


def said(quantity: str, where: Mapping[str, str], drawn: Iterable[tuple[str, float]]) -> str:
    """What the grey lines are, and how exact; empty where there are none."""
    if matching(quantity, where, drawn).empty:
        return ""
    log = quantity == "adversarial_loss"
    return f"Grey: published means (95 % band where legible), read by eye, ±{'0.05 in log10' if log else '10 %'}; other training."
