"""The attacked pairs (image, target): the same for every model of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vaepipe.datasets.part import Part
from vaepipe.storage.errors import DataError

PROBES = 64
"""Pixels that are compared first, to find the images that may be equal."""


@dataclass(frozen=True)
class ImagePairs:
    """P pairs of a split.

    Attributes:
        pairs: (P, 2) rows of the split: image, target.
        x, target: (P, C, H, W), as they are stored.
        pair_labels: (P, 2) classes, or None.
    """

    pairs: np.ndarray
    x: np.ndarray
    target: np.ndarray
    pair_labels: np.ndarray | None

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of `vaepipe.attacks.quantities.PAIRS` that are known, by name."""
        return {name: array for name, array in vars(self).items() if array is not None}


def select_pairs(part: Part, wanted: int | Sequence[Sequence[int]], seed: int) -> ImagePairs:
    """Return the pairs that `choose_pairs` chooses, with their images and classes."""
    pairs = choose_pairs(part, wanted, seed)
    labels = None if part.label is None else part.label[pairs]
    x, target = (np.asarray(part.x[rows]) for rows in pairs.T)
    return ImagePairs(pairs, x, target, labels)


def choose_pairs(part: Part, wanted: int | Sequence[Sequence[int]], seed: int) -> np.ndarray:
    """Return (P, 2) rows of ``part``, image and target: ``wanted`` random pairs, or the pairs that it lists.

    Raises:
        DataError: fewer images with a target than pairs, or a pair of rows that do not exist or are equal.
    """
    if isinstance(wanted, int):
        return draw_pairs(part, wanted, seed)
    images = len(part.x)
    for image, target in wanted:
        if max(image, target) >= images or image == target:
            raise DataError(
                f"attack.pairs: [{image}, {target}] is not two of the {images} held-out images, 0 the first"
            )
        if np.array_equal(np.asarray(part.x[image]), np.asarray(part.x[target])):
            raise DataError(f"attack.pairs: the held-out images [{image}, {target}] are equal in all pixels")
    return np.array(wanted, dtype=np.int64)


def draw_pairs(part: Part, count: int, seed: int) -> np.ndarray:
    """Return (count, 2) random rows of ``part``: image and target.

    No image is attacked twice. If the split has several classes, the target is of another one; if it has
    factors, more than half of those that vary differ; otherwise the target is any other image. Image and
    target are never equal. Images without such a target are passed over. A longer list begins with the
    shorter ones.

    Raises:
        DataError: fewer images with a target than pairs.
    """
    n = len(part.x)
    if count > n:
        raise DataError(
            f"attack.pairs: {count} is more than the {n} held-out images; ask for fewer, or give more images"
        )
    random = np.random.default_rng(seed)
    x = np.asarray(part.x)
    pairs: list[tuple[int, int]] = []
    for image in random.permutation(n):
        if len(pairs) == count:
            break
        candidates = _differing_pixels(x, image, np.flatnonzero(_differs(part, image)))
        if len(candidates):
            draw = np.random.default_rng([seed, int(image)]).integers(len(candidates))
            pairs.append((int(image), int(candidates[draw])))
    if len(pairs) < count:
        raise DataError(
            f"attack.pairs: {count} pairs are wanted, only {len(pairs)} of the {n} held-out images have a "
            "target, an image that differs in pixels and is of another class or has other factors; ask for "
            "fewer pairs, hold out more images, or leave the classes away"
        )
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _differs(part: Part, image: int) -> np.ndarray:
    """Return (N,) whether each image may be the target of ``image`` by its class and factors."""
    if part.label is not None and (part.label != part.label[0]).any():
        return part.label != part.label[image]
    if part.factors is not None:
        varying = part.factors[:, (part.factors != part.factors[0]).any(0)]
        if varying.shape[1]:
            return (varying != varying[image]).sum(1) > varying.shape[1] / 2
    return np.arange(len(part.x)) != image


def _differing_pixels(x: np.ndarray, image: int, rows: np.ndarray) -> np.ndarray:
    """Return those of some rows whose pixels are not all equal to those of ``image``."""
    flat = x.reshape(len(x), -1)
    probes = np.linspace(0, flat.shape[1] - 1, min(PROBES, flat.shape[1])).astype(np.int64)
    alike = rows[(flat[rows[:, None], probes] == flat[image, probes]).all(1)]  # the few to compare in full
    equal = [row for row in alike if np.array_equal(flat[row], flat[image])]
    return np.setdiff1d(rows, equal) if equal else rows
