"""The swiss roll: points on a sheet rolled up in three dimensions. Source: scikit-learn's
``make_swiss_roll``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import make_swiss_roll

from vaepipe.datasets.part import Part, hold_out

HEIGHT = 21.0
"""scikit-learn draws the height uniformly from [0, HEIGHT]."""


def load(name: str, path: Path | None, downloads: Path) -> dict[str, Part]:
    """Return 10,000 points (N,3) float32 without noise, axes (x, height, z); 1,000 are held out."""
    points, _ = make_swiss_roll(10_000, noise=0, random_state=0)
    points[:, 1] -= HEIGHT / 2  # the spiral is already centred on x = z = 0
    return hold_out(Part(points.astype(np.float32)), 1000)
