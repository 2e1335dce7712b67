"""A split of a data set in memory. Apart from the registry, so that a new entry there changes no stage but its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Part:
    """A split. ``x``: (N,C,H,W) uint8 images in [0,255], or (N,D) float32 points; ``label``: (N,) integers, optional;
    ``factors``: (N,F) integer classes of the known generating factors, named by ``factor_names``, optional."""

    x: np.ndarray
    label: np.ndarray | None = None
    factors: np.ndarray | None = None
    factor_names: tuple[str, ...] = ()

    def __getitem__(self, rows) -> Part:
        pick = [None if a is None else a[rows] for a in (self.x, self.label, self.factors)]
        return Part(*pick, self.factor_names)


def hold_out(part: Part, n: int, seed: int = 0) -> dict[str, Part]:
    """Split at random, the same way each time: ``n`` rows for the test part, the others for training, order kept."""
    order = np.random.default_rng(seed).permutation(len(part.x))
    return {"train": part[np.sort(order[n:])], "test": part[np.sort(order[:n])]}
