"""How much of the swiss roll reconstructions keep."""

from __future__ import annotations

import numpy as np

DIRECTIONS = {"height": [1], "spiral": [0, 2]}
"""Direction of the roll → its coordinates: a sheet keeps both, a curve loses one."""


def errors(x: np.ndarray, picture: np.ndarray, direction: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (N,) squared errors of reconstructions ``picture`` (N, 3) in one direction, and (N,) squared
    distances of the points ``x`` (N, 3) from their mean."""
    axes = DIRECTIONS[direction]
    x, picture = x.astype(float), picture.astype(float)
    return ((x - picture)[:, axes] ** 2).sum(1), ((x - x.mean(0))[:, axes] ** 2).sum(1)


def explained(x: np.ndarray, picture: np.ndarray) -> dict[str, float]:
    """Return direction → 1 − squared error / variance, the share of it that reconstructions keep."""
    sums = {name: [part.sum() for part in errors(x, picture, name)] for name in DIRECTIONS}
    return {name: float(1 - error / spread) for name, (error, spread) in sums.items()}
