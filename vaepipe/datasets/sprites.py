"""Sprites in the style of dSprites, generated, so that a study with known factors needs no download.

The complete grid shape 3 × scale 6 × orientation 10 × x 8 × y 8 = 11,520 binary images without anti-aliasing,
all different.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vaepipe.datasets.part import Part, hold_out

FACTORS = {"shape": 3, "scale": 6, "orientation": 10, "x": 8, "y": 8}
PATCH, STEP = 36, 4
"""Pixels. A shape is drawn once, in the middle of a patch that contains it at any angle. The patch is moved
in steps of whole pixels from one edge of the image to the other, so that a factor of position changes only
the position."""
SIZE = PATCH + STEP * (FACTORS["x"] - 1)


def square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return what is inside a square of half side 10."""
    return np.maximum(np.abs(u), np.abs(v)) < 10


def ellipse(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return what is inside an ellipse of semi-axes 14 along u and 8 along v."""
    return (u / 14) ** 2 + (v / 8) ** 2 < 1


def heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return what is inside a heart, symmetric about u = 0, tip down.

    It is an ellipse of semi-axes 12 and 10 whose columns are moved up by 8 √(|u|/12), which keeps the area;
    then it is centred.
    """
    return (u / 12) ** 2 + ((v + 2 - 8 * np.sqrt(np.abs(u) / 12)) / 10) ** 2 < 1


Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]
SHAPES: dict[Shape, float] = {square: 1 / 4, ellipse: 1 / 2, heart: 1}
"""Shape (coordinates in pixels at full scale) → the turn after which it looks the same.

Orientation divides that turn into equal steps, without its end. In dSprites it goes from 0 to 2π with both
ends, for all shapes, so that 0 and 2π are two classes of one image. Ten steps of the whole circle would also
show each square and ellipse twice, and held-out images would be training images too.
"""


def patches() -> np.ndarray:
    """(shape, scale, orientation, PATCH, PATCH) booleans; scale goes from 1/2 to 1, orientation
    counter-clockwise."""
    middle = np.arange(PATCH) - (PATCH - 1) / 2
    right, up = middle[None, :], -middle[:, None]
    scale = np.linspace(0.5, 1, FACTORS["scale"])[:, None, None, None]
    steps = np.arange(FACTORS["orientation"])[:, None, None] / FACTORS["orientation"]

    def draw(inside: Shape, turn: float) -> np.ndarray:
        angle = 2 * np.pi * turn * steps
        cos, sin = np.cos(angle), np.sin(angle)
        return inside((cos * right + sin * up) / scale, (cos * up - sin * right) / scale)

    return np.stack([draw(inside, turn) for inside, turn in SHAPES.items()])


def load(name: str, path: Path | None, downloads: Path) -> dict[str, Part]:
    """Return images (N,1,64,64) of 0 and 255, of which 1,000 are held out.

    The factors are in the order of dSprites; x goes to the right, y downwards.
    """
    counts = tuple(FACTORS.values())
    x = np.zeros((*counts, SIZE, SIZE), np.uint8)
    patch = 255 * patches().astype(np.uint8)
    for i, j in itertools.product(range(FACTORS["x"]), range(FACTORS["y"])):
        left, top = STEP * i, STEP * j
        x[:, :, :, i, j, top : top + PATCH, left : left + PATCH] = patch
    factors = np.indices(counts).reshape(len(counts), -1).T
    return hold_out(Part(x.reshape(-1, 1, SIZE, SIZE), factors=factors, factor_names=tuple(FACTORS)), 1000)
