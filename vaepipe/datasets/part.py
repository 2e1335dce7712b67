"""A split of a data set, in memory or read when asked for. Apart from the registry, so that a new entry there changes no
stage but its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


class Lazy:
    """Images that are read when they are turned into an array: ``lazy[rows]`` chooses, ``np.asarray(lazy[rows])`` reads.

    Args:
        read: rows (n,), increasing, of a source → images (n, *shape) uint8; called from several threads at once.
        shape: (C, H, W) of one image.
        rows: the rows of the source that are here.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, read: Callable[[np.ndarray], np.ndarray], shape: tuple[int, int, int], rows: np.ndarray):
        self.read, self.rows = read, rows
        self.shape = (len(rows), *shape)
        self.size = int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows) -> Lazy:
        return Lazy(self.read, self.shape[1:], self.rows[rows])

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self.read(self.rows).astype(dtype or self.dtype, copy=False)

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> Lazy:
        """The same with a function of each block of images, which keeps their shape."""
        return Lazy(lambda rows: function(self.read(rows)), self.shape[1:], self.rows)


@dataclass(frozen=True)
class Part:
    """A split. ``x``: (N,C,H,W) uint8 images in [0,255], or (N,D) float32 points; ``label``: (N,) integers, optional;
    ``factors``: (N,F) integer classes of the known generating factors, named by ``factor_names``, optional."""

    x: np.ndarray | Lazy
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


def hold_out_tenth(part: Part) -> dict[str, Part]:
    """`hold_out` for data without an official split: one in ten images, at most 10,000; of few, as many as the default pairs
    of the attack need, at most half."""
    n = len(part.x)
    return hold_out(part, min(10_000, max(n // 10, min(20, n // 2))))
