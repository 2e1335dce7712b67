"""dSprites: 737,280 binary images of three shapes.

Source: Matthey et al. 2017, github.com/deepmind/dsprites-dataset.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from vaepipe.datasets.part import LazyImages, Part, hold_out_tenth
from vaepipe.datasets.sources.array_file import ArrayFile
from vaepipe.datasets.sources.fetch import fetch
from vaepipe.storage.errors import DataError

FILE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.hdf5"
ADDRESS = f"https://github.com/deepmind/dsprites-dataset/blob/master/{FILE}?raw=true"
MIRROR = f"https://raw.githubusercontent.com/google-deepmind/dsprites-dataset/master/{FILE}"
SHA256 = "729fa22e884c9c500e1f17415d580746b4c5894fbbb780a1319bbcfa39a745bb"
FACTORS = ("shape", "scale", "orientation", "x", "y")


def load(name: str, path: Path | None, downloads: Path) -> dict[str, Part]:
    """Return images (N,1,64,64) of 0 and 255; one in ten is held out, at most 10,000.

    The factors are the official class numbers, without the constant colour.

    Args:
        path: the official .npz or .hdf5, or a subset in their layout.

    Raises:
        DataError: the file is not dSprites, or could not be downloaded.
    """
    path = path or fetch(name, downloads, FILE, f"sha256:{SHA256}", [ADDRESS, MIRROR])
    try:
        x = ArrayFile(path, "imgs")
        classes = ArrayFile(path, "latents/classes" if h5py.is_hdf5(path) else "latents_classes").all()
    except DataError as error:
        layout = "an .npz with imgs and latents_classes, nor an .hdf5 with imgs and latents/classes"
        raise DataError(
            f"{error}; damaged, or not dSprites: neither {layout}; the official one is {ADDRESS}"
        ) from error
    n = x.shape[0] if x.shape else 0
    if len(x.shape) != 3 or not n or x.dtype != np.uint8 or classes.shape != (n, 1 + len(FACTORS)):
        raise DataError(
            f"{path}: expected images (N,H,W) uint8 of 0 and 1 with classes (N,6), found {x.shape} {x.dtype}"
        )

    def read(rows: np.ndarray) -> np.ndarray:
        block = x.take(rows)
        if block.max(initial=0) > 1:
            raise DataError(f"{path}: expected images (N,H,W) uint8 of 0 and 1, found {block.max()}")
        return 255 * block[:, None]

    return hold_out_tenth(
        Part(LazyImages(read, (1, *x.shape[1:]), np.arange(n)), None, classes[:, 1:], FACTORS)
    )
