"""SVHN: cropped colour digits of house numbers.

Source: Netzer et al. 2011; addresses and checksums as in torchvision.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vaepipe.datasets.part import LazyImages, Part, hold_out_tenth
from vaepipe.datasets.sources.array_file import ArrayFile
from vaepipe.datasets.sources.fetch import fetch
from vaepipe.storage.errors import DataError

ADDRESS = "http://ufldl.stanford.edu/housenumbers/"
MD5 = {"train": "e26dedcc434d2e4c54c9b2d4a06d8373", "test": "eb5a983be6a315427106f1b164d9cef3"}


def load(name: str, path: Path | None, downloads: Path) -> dict[str, Part]:
    """Return images (N,3,32,32) and their digits, in the official split: 73,257 for training, 26,032 for
    testing.

    scipy reads the files, as torchvision's class refuses all but the official ones.

    Args:
        path: folder of both official .mat files; or one file in their layout, then one in ten images is held
            out.

    Raises:
        DataError: a file is missing, is not SVHN, or could not be downloaded.
    """
    files = {split: f"{split}_32x32.mat" for split in MD5}
    if path is None:
        paths = {
            split: fetch(name, downloads, file, f"md5:{MD5[split]}", [ADDRESS + file])
            for split, file in files.items()
        }
        return {split: _part(file) for split, file in paths.items()}
    if path.is_dir():
        return {split: _part(path / file) for split, file in files.items()}
    return hold_out_tenth(_part(path))


def _part(path: Path) -> Part:
    x, y = ArrayFile(path, "X"), ArrayFile(path, "y")
    are_images = len(x.shape) == 4 and x.shape[:3] == (32, 32, 3) and x.dtype == np.uint8
    if not are_images or y.shape not in ((x.shape[3], 1), (1, x.shape[3])):
        raise DataError(
            f"{path}: expected X (32,32,3,N) uint8 and y (N,1), found {x.shape} {x.dtype} and {y.shape}"
        )
    n = x.shape[3]
    images = LazyImages(lambda rows: x.take(rows, axis=3).transpose(0, 3, 1, 2), (3, 32, 32), np.arange(n))
    return Part(images, y.all().reshape(-1).astype(np.int64) % 10)  # the digit 0 is called 10
