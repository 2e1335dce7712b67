"""Attacks that the checks call too weak, column ``masked`` of the tables: a dagger beside their points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from vaepipe.analysis.families import label
from vaepipe.analysis.trials import is_flagged
from vaepipe.figures.style import size
from vaepipe.models.family import find_family

SIGN = "†"
NAMED = 4
"""Points that the note names."""


def flagged(frame: pd.DataFrame) -> dict[tuple[str, float], tuple[int, int]]:
    """Return (family, β) → (models whose attack is flagged, models) where there are any, of the rows of one
    attack."""
    models = frame.drop_duplicates(["family", "beta", "d_z", "seed"])
    groups = is_flagged(models).groupby([models["family"], models["beta"]])
    return {key: (int(weak.sum()), len(weak)) for key, weak in groups if weak.any()}


def mark(ax: Axes, key: tuple[str, float], x: float, y: float) -> None:
    """Draw a dagger over a point of (family, β)."""
    family, beta = key
    if np.isfinite(x) and np.isfinite(y):
        colour = find_family(family).colour
        look: dict[str, Any] = {
            "ha": "center",
            "color": colour,
            "fontsize": size(9),
            "zorder": 4,
            "annotation_clip": False,
        }
        ax.annotate(SIGN, (x, y), (0, 3), textcoords="offset points", gid=f"flag {family} {beta:g}", **look)


def note(frame: pd.DataFrame) -> str:
    """Return a line that names what is flagged; empty where nothing is."""
    names = []
    for (family, beta), (weak, models) in flagged(frame).items():
        names.append(f"{label(family)}{f' β = {beta:g}' if beta else ''} ({weak} of {models})")
    if not names:
        return ""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (
        f"{SIGN} A check finds the attack too weak, so these models must not be called robust: "
        f"{', '.join(names[:NAMED])}{more}."
    )
