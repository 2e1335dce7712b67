"""A split of a data set, in memory or read on demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


class LazyImages:
    """Images that are read when they become an array.

    ``images[rows]`` chooses images, ``np.asarray(images[rows])`` reads them.

    Args:
        read: increasing rows (n,) of a source → images (n, *shape) uint8; called by several threads at once.
        shape: (C, H, W) of one image.
        rows: the rows of the source to which the images belong.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(
        self, read: Callable[[np.ndarray], np.ndarray], shape: tuple[int, int, int], rows: np.ndarray
    ):
        self.read, self.rows = read, rows
        self.shape = (len(rows), *shape)
        self.size = int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Any) -> LazyImages:
        return LazyImages(self.read, self.shape[1:], self.rows[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.read(self.rows).astype(dtype or self.dtype, copy=False)

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> LazyImages:
        """Return these images with a function applied to each block, which keeps the shape."""
        return LazyImages(lambda rows: function(self.read(rows)), self.shape[1:], self.rows)


@dataclass(frozen=True)
class Part:
    """A split of a data set."""

    x: np.ndarray | LazyImages
    """(N,C,H,W) uint8 images in [0,255], or (N,D) float32 points."""
    label: np.ndarray | None = None
    """(N,) integers."""
    factors: np.ndarray | None = None
    """(N,F) integer classes of the known generating factors."""
    factor_names: tuple[str, ...] = ()

    def __getitem__(self, rows: Any) -> Part:
        label = None if self.label is None else self.label[rows]
        factors = None if self.factors is None else self.factors[rows]
        return Part(self.x[rows], label, factors, self.factor_names)


def hold_out(part: Part, n: int, seed: int = 0) -> dict[str, Part]:
    """Split at random, always the same way: ``n`` rows for testing, the others for training, in their
    order."""
    order = np.random.default_rng(seed).permutation(len(part.x))
    return {"train": part[np.sort(order[n:])], "test": part[np.sort(order[:n])]}


def hold_out_tenth(part: Part) -> dict[str, Part]:
    """Split data without an official split: hold out one in ten images, at most 10,000.

    Of small data sets hold out 20 images, as many as the default pairs of the attack need, but at most half.
    """
    n = len(part.x)
    return hold_out(part, min(10_000, max(n // 10, min(20, n // 2))))
