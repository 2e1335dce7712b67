"""Attacks that the checks found too weak, column ``masked`` of the tables: a dagger beside what they measured."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from vaepipe.figures import style

SIGN = "†"
NAMED = 4
"""Points that the note names."""


def flagged(frame) -> dict[tuple[str, float], tuple[int, int]]:
    """(family, β) → (models whose attack is flagged, models), where there are any, of the rows of one attack."""
    models = frame.drop_duplicates(["family", "beta", "d_z", "seed"])
    weak = weakness(models).groupby([models["family"], models["beta"]])
    return {key: (int(its.sum()), len(its)) for key, its in weak if its.any()}


def weakness(rows):
    """Whether each row's attack is flagged."""
    if "masked" not in rows:
        return rows["family"].ne(rows["family"])
    return rows["masked"].notna() & rows["masked"].ne("")


def mark(ax: Axes, key: tuple[str, float], x: float, y: float) -> None:
    """A dagger over a point of (family, β)."""
    family, beta = key
    if np.isfinite(x) and np.isfinite(y):
        look = {"ha": "center", "color": style.COLOURS[family], "fontsize": 9, "zorder": 4, "annotation_clip": False}
        ax.annotate(SIGN, (x, y), (0, 3), textcoords="offset points", gid=f"flag {family} {beta:g}", **look)


def said(frame) -> str:
    """A line for the note; empty where nothing is flagged."""
    found = flagged(frame)
    names = [f"{style.NAMES[f]}{f' β = {b:g}' if b else ''} ({n} of {of})" for (f, b), (n, of) in found.items()]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    text = f"{SIGN} Attack too weak by its checks, do not call robust (models): {', '.join(names[:NAMED])}{more}."
    return text if names else ""
