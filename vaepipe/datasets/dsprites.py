"""dSprites: 737,280 binary images of three shapes. Source: Matthey et al. 2017, github.com/deepmind/dsprites-dataset."""

from __future__ import annotations

import sys
import zipfile
import zlib
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pooch

from vaepipe.datasets.files import not_fetched
from vaepipe.datasets.part import Part, hold_out
from vaepipe.store import DataError

FILE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.hdf5"
ADDRESS = f"https://github.com/deepmind/dsprites-dataset/blob/master/{FILE}?raw=true"
SHA256 = "729fa22e884c9c500e1f17415d580746b4c5894fbbb780a1319bbcfa39a745bb"
FACTORS = ("shape", "scale", "orientation", "x", "y")
DAMAGED = (OSError, KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)
"""What numpy and h5py raise, between them, on files that are cut short or are something else."""


def load(name: str, path: Path | None, downloads: Path) -> dict[str, Part]:
    """The official .npz or .hdf5, or a subset in their layout; one in ten images is held out, at most 10,000.

    Images (N,1,64,64) of 0 and 255. Factors are the official class numbers without the constant colour, also for a subset.

    Raises:
        DataError: the file is not dSprites, or could not be fetched.
    """
    path = path or _fetch(name, downloads)
    x, classes = _read(path)
    if x.ndim != 3 or not len(x) or x.dtype != np.uint8 or x.max() > 1 or classes.shape != (len(x), 1 + len(FACTORS)):
        raise DataError(f"{path}: expected images (N,H,W) uint8 of 0 and 1 with classes (N,6), found {x.shape} {x.dtype}")
    x *= 255  # in place: the full set is 3 GB
    return _hold_out(Part(x[:, None], factors=classes[:, 1:], factor_names=FACTORS), min(10_000, len(x) // 10))


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the official .npz or .hdf5 of dSprites")
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r", locking=False) as file:
                return file["imgs"][:], file["latents"]["classes"][:]
        with np.load(path, allow_pickle=False) as file:  # the official file also has a pickle, which is never opened
            return file["imgs"], file["latents_classes"]
    except DAMAGED as error:
        layout = "an .npz with imgs and latents_classes, nor an .hdf5 with imgs and latents/classes"
        raise DataError(f"{path}: damaged, or not dSprites: neither {layout}; the official one is {ADDRESS}") from error


def _hold_out(part: Part, n: int, block: int = 4096) -> dict[str, Part]:
    """`hold_out` without a second copy of the images: the training rows move up in place."""
    rows = {split: chosen.x for split, chosen in hold_out(Part(np.arange(len(part.x))), n).items()}
    parts = {"test": part[rows["test"]]}
    for start in range(0, len(rows["train"]), block):
        source = rows["train"][start : start + block]  # rows only move up, so none is overwritten before it has moved
        part.x[start : start + len(source)] = part.x[source]
    parts["train"] = Part(part.x[: len(rows["train"])], None, part.factors[rows["train"]], part.factor_names)
    return parts


def _fetch(name: str, downloads: Path) -> Path:
    bar = sys.stderr.isatty() and find_spec("tqdm") is not None  # pooch draws it with tqdm
    pooch.get_logger().setLevel("WARNING")
    try:
        return Path(pooch.retrieve(ADDRESS, f"sha256:{SHA256}", fname=FILE, path=downloads, progressbar=bar))
    except (OSError, ValueError) as error:  # ValueError: the checksum is wrong
        raise not_fetched(name, ADDRESS, error) from error
