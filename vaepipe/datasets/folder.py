"""A user's own image files: a folder, a .zip or a .tar."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from vaepipe.datasets.part import Part, hold_out_tenth
from vaepipe.datasets.sources.tree import ImageTree
from vaepipe.storage.errors import DataError

SPLITS = ("train", "test")


def load(
    name: str,
    path: Path | None,
    downloads: Path,
    size: int | None = 64,
    crop: int | None = None,
    channels: int = 3,
) -> dict[str, Part]:
    """Return square images from the middle of the image files.

    The folders ``train`` and ``test`` are the split; without them one in ten images is held out. The folder
    of an image is its class, if there are at least two folders.

    Args:
        size, crop, channels: as `vaepipe.datasets.sources.tree.decode` takes them.

    Raises:
        DataError: there are fewer than two images, or one cannot be read.
    """
    if path is None:
        raise DataError(f"{name}: datasets.{name}.path is missing; give a folder, a .zip or a .tar of images")
    tree = ImageTree(path)
    if len(tree.names) < 2:
        raise DataError(f"{path}: one image only; at least two are needed, to train and to hold out")
    x = tree.images(tree.names, channels, crop, size)
    first = np.array([PurePosixPath(file).parts[0] if "/" in file else "" for file in tree.names])
    split = set(first) == set(SPLITS)
    above = [str(PurePosixPath(*PurePosixPath(file).parts[split:]).parent) for file in tree.names]
    kinds, label = np.unique(above, return_inverse=True)
    part = Part(x, label.astype(np.int64) if len(kinds) > 1 else None)
    return {key: part[first == key] for key in SPLITS} if split else hold_out_tenth(part)
