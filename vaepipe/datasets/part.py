"""A split of a data set, in memory or read on demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FEWEST = 2
"""Images of a part: batch normalisation and total correlation need two, a pair needs two."""


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
    class_names: tuple[str, ...] = ()
    """Name of each label from 0 on, if the classes have names."""
    report: Callable[[], dict[str, Any]] = field(default=dict, compare=False)
    """Called when all images were read: what was found in the source, for the log and the file. It raises a
    DataError if that is not what images should be."""

    def __getitem__(self, rows: Any) -> Part:
        label = None if self.label is None else self.label[rows]
        factors = None if self.factors is None else self.factors[rows]
        return Part(self.x[rows], label, factors, self.factor_names, self.class_names, self.report)


def hold_out(part: Part, n: int, seed: int = 0) -> dict[str, Part]:
    """Split at random, always the same way: ``n`` rows for testing, the others for training, in their
    order."""
    order = np.random.default_rng(seed).permutation(len(part.x))
    return {"train": part[np.sort(order[n:])], "test": part[np.sort(order[:n])]}


def hold_out_tenth(part: Part) -> dict[str, Part]:
    """Split data without an official split: hold out one in ten images, at most 10,000.

    Of small data sets hold out 20 images, as many as the default pairs of the attack need, but at most half.
    Where the random choice leaves out a class that has two images or more, choose class by class.
    """
    n = len(part.x)
    count = min(10_000, max(n // 10, min(20, n // 2)))
    parts = hold_out(part, count)
    if part.label is None:
        return parts
    classes, sizes = np.unique(part.label, return_counts=True)
    missing = np.setdiff1d(classes[sizes > 1], np.asarray(parts["test"].label))
    return _hold_out_by_class(part, count) if len(missing) and (sizes > 1).sum() <= count else parts


def _hold_out_by_class(part: Part, n: int, seed: int = 0) -> dict[str, Part]:
    """Hold out ``n`` rows, of each class its share, but at least one and not all. Classes of one image are
    for training."""
    assert part.label is not None
    kinds, label, sizes = np.unique(part.label, return_inverse=True, return_counts=True)
    wanted = n * sizes / sizes.sum()
    most = sizes - 1
    counts = np.minimum(most, np.maximum(1, wanted.astype(np.int64)))
    while counts.sum() < n and (counts < most).any():
        counts[np.argmax(np.where(counts < most, wanted - counts, -np.inf))] += 1
    while counts.sum() > n and (counts > 1).any():
        counts[np.argmax(np.where(counts > 1, counts - wanted, -np.inf))] -= 1
    order = np.random.default_rng(seed).permutation(len(label))
    rows = [order[label[order] == kind][: counts[kind]] for kind in range(len(kinds))]
    held_out = np.isin(np.arange(len(label)), np.concatenate(rows))
    return {"train": part[np.flatnonzero(~held_out)], "test": part[np.flatnonzero(held_out)]}
