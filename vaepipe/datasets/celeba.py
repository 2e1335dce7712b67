"""CelebA: faces of celebrities, aligned. Source: Liu et al. 2015; address and checksum as in torchvision."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from vaepipe.datasets.part import Part
from vaepipe.datasets.sources.fetch import fetch
from vaepipe.datasets.sources.tree import ImageTree
from vaepipe.storage.errors import DataError

FILE, MD5 = "img_align_celeba.zip", "00d2c5bc6d35e252742224ab0c1e8fcb"
ADDRESS = (
    "https://drive.usercontent.google.com/download?id=0B7EVK8r0v71pZjFTYXZWM3FlRnM&export=download&confirm=t"
)
LAST_TRAIN, FIRST_TEST = 162_770, 182_638
"""Numbers of images in the official partition; those between are the validation part, which is left out."""
CROP, SIZE = 148, 64


def load(name: str, path: Path | None, downloads: Path) -> dict[str, Part]:
    """Return images (N,3,64,64): the middle 148 of 178×218 pixels, scaled, in the official split.

    The validation part is left out. The zip is read in place; torchvision's class would unpack 202,599 files.

    Args:
        path: img_align_celeba.zip, its unpacked folder, or a folder that holds one of them.

    Raises:
        DataError: the file is not CelebA, is damaged, or could not be downloaded.
    """
    if path is None:
        path = fetch(name, downloads, FILE, f"md5:{MD5}", [ADDRESS])
    elif path.is_dir():
        inner = [path / name for name in (FILE, FILE.removesuffix(".zip")) if (path / name).exists()]
        path = inner[0] if inner else path
    tree = ImageTree(path)
    names = tree.once(tree.names)
    stems = [PurePosixPath(file).stem for file in names]
    unknown = [file for file, stem in zip(names, stems) if not (stem.isdecimal() and len(stem) == 6)]
    if unknown:
        raise DataError(f"{path}: {unknown[0]!r} is not a name like 000001.jpg; give the official {FILE}")
    numbers = np.array([int(stem) for stem in stems])
    for split, there, wanted in (
        ("training", (numbers <= LAST_TRAIN).any(), f"000001 to {LAST_TRAIN:06}"),
        ("test", (numbers >= FIRST_TEST).any(), f"{FIRST_TEST:06} to 202599"),
    ):
        if not there:
            raise DataError(f"{path}: no {split} images, whose names are {wanted}; give all of {FILE}")
    part = Part(tree.images(names, 3, CROP, SIZE))
    return {"train": part[numbers <= LAST_TRAIN], "test": part[numbers >= FIRST_TEST]}
