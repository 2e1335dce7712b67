"""Which image is attacked towards which: the same pairs for every model of a data set."""

from __future__ import annotations

import numpy as np

from vaepipe.datasets.part import Part
from vaepipe.storage.errors import DataError


def choose_pairs(part: Part, wanted: int | list[list[int]], seed: int) -> np.ndarray:
    """(P, 2) rows of ``part``, image and target: as many as ``wanted``, drawn, or the ones that it lists.

    Raises:
        DataError: fewer images than pairs, no target for an image, or a row that is not there or its own target.
    """
    if isinstance(wanted, int):
        return draw_pairs(part, wanted, seed)
    for image, target in wanted:
        if max(image, target) >= len(part.x) or image == target:
            raise DataError(f"attack.pairs: [{image}, {target}] is not two of the {len(part.x)} held-out images, 0 the first")
    return np.array(wanted, dtype=np.int64)


def draw_pairs(part: Part, count: int, seed: int) -> np.ndarray:
    """(count, 2) rows of ``part``: image and target, at random.

    No image is attacked twice. The target has another label; where there are no labels but factors, it differs in more
    than half of them; else it is any other image. A longer list begins with the shorter ones.

    Raises:
        DataError: fewer images than pairs, or no target for an image.
    """
    n = len(part.x)
    if count > n:
        raise DataError(f"attack.pairs: {count} is more than the {n} held-out images; ask for fewer, or give more images")
    random = np.random.default_rng(seed)
    pairs = []
    for image in random.permutation(n)[:count]:
        fits = np.flatnonzero(_differs(part, image))
        if not len(fits):
            raise DataError(f"attack.pairs: held-out image {image} has no image of another kind as a target")
        pairs.append((image, fits[np.random.default_rng([seed, int(image)]).integers(len(fits))]))
    return np.array(pairs, dtype=np.int64)


def _differs(part: Part, image: int) -> np.ndarray:
    if part.label is not None:
        return part.label != part.label[image]
    if part.factors is not None:
        return (part.factors != part.factors[image]).sum(1) > part.factors.shape[1] / 2
    return np.arange(len(part.x)) != image
