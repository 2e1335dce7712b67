"""The attacked pairs (image, target): the same for every model of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vaepipe.datasets.part import Part
from vaepipe.storage.errors import DataError


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
        DataError: fewer images than pairs, no target for an image, or a row that does not exist or is its own
            target.
    """
    if isinstance(wanted, int):
        return draw_pairs(part, wanted, seed)
    images = len(part.x)
    for image, target in wanted:
        if max(image, target) >= images or image == target:
            raise DataError(
                f"attack.pairs: [{image}, {target}] is not two of the {images} held-out images, 0 the first"
            )
    return np.array(wanted, dtype=np.int64)


def draw_pairs(part: Part, count: int, seed: int) -> np.ndarray:
    """Return (count, 2) random rows of ``part``: image and target.

    No image is attacked twice. If the split has labels, the target has another label; if it has factors, more
    than half of them differ; otherwise the target is any other image. A longer list begins with the shorter
    ones.

    Raises:
        DataError: fewer images than pairs, or no target for an image.
    """
    n = len(part.x)
    if count > n:
        raise DataError(
            f"attack.pairs: {count} is more than the {n} held-out images; ask for fewer, or give more images"
        )
    random = np.random.default_rng(seed)
    pairs = []
    for image in random.permutation(n)[:count]:
        candidates = np.flatnonzero(_differs(part, image))
        if not len(candidates):
            raise DataError(f"attack.pairs: held-out image {image} has no image of another kind as a target")
        draw = np.random.default_rng([seed, int(image)]).integers(len(candidates))
        pairs.append((image, candidates[draw]))
    return np.array(pairs, dtype=np.int64)


def _differs(part: Part, image: int) -> np.ndarray:
    """Return (N,) whether each image may be the target of ``image``."""
    if part.label is not None:
        return part.label != part.label[image]
    if part.factors is not None:
        return (part.factors != part.factors[image]).sum(1) > part.factors.shape[1] / 2
    return np.arange(len(part.x)) != image
