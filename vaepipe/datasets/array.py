"""Arrays of images: .npy, .npz, .h5 and .mat, read block by block. Also a data set of its own: any such file of a user."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from vaepipe.datasets.part import Lazy, Part, hold_out_tenth
from vaepipe.storage.errors import DataError

SPAN = 2**25
"""Bytes read at once."""
DAMAGED = (OSError, KeyError, ValueError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What numpy, h5py and scipy raise, between them, on files that are cut short or are something else."""


def load(
    name: str, path: Path | None, downloads: Path, key: str | None = None, labels: str | None = None, axes: str | None = None
) -> dict[str, Part]:
    """Images of a user's own file; one in ten is held out.

    Args:
        key: name of the array in the file; not needed where there is one only.
        labels: name of the array of classes in the same file.
        axes: order of the axes, such as ``NHWC``; None takes N first and finds the channels by their number, 1 or 3.

    Raises:
        DataError: no file, no such array, or values that are not those of images.
    """
    if path is None:
        raise DataError(f"{name}: datasets.{name}.path is missing; give a .npy, .npz, .h5 or .mat file")
    source = Source(path, key)
    shape, axes = source.shape, _axes(source, axes)
    order = [axes.index(axis) for axis in "NCHW" if axis in axes]
    along, inner = order[0], [axes.replace("N", "").index(axis) for axis in "CHW" if axis in axes]
    image = tuple(shape[i] for i in order[1:])

    def read(rows: np.ndarray) -> np.ndarray:
        x = source.take(rows, along).transpose(0, *(1 + i for i in inner))
        return as_bytes(x, rows, source).reshape(len(rows), *(image if len(image) == 3 else (1, *image)))

    x = Lazy(read, image if len(image) == 3 else (1, *image), np.arange(shape[along]))
    return hold_out_tenth(Part(x, _labels(path, labels, len(x)) if labels else None))


class Source:
    """One array of a file, with its ``shape`` and ``dtype``; ``take`` reads some of its rows.

    Args:
        path: .npy, .npz (nothing pickled is opened), .h5 or .hdf5, or .mat of any version.
        key: name of the array; None where the file has one only.

    Raises:
        DataError: the file is missing or damaged, or has no such array.
    """

    def __init__(self, path: Path, key: str | None = None):
        self.path = path
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        try:
            self._open, names = _reader(path)
            self.key = _choose(path, key, names)
            with self._open(self.key) as array:
                self.shape, self.dtype = tuple(array.shape), array.dtype
        except DAMAGED as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path}: damaged, or not an .npy, .npz, .h5 or .mat file of arrays ({_words(error)})") from error
        if self.dtype.hasobject or self.dtype.kind not in "buif":
            raise DataError(f"{self}: holds {self.dtype}, expected numbers")

    def __str__(self) -> str:
        return f"{self.path}, {self.key}" if self.key else str(self.path)

    def take(self, rows: np.ndarray, axis: int = 0) -> np.ndarray:
        """Increasing rows along an axis, which becomes the first one; at most `SPAN` bytes beside them are in memory."""
        rest = tuple(n for i, n in enumerate(self.shape) if i != axis)
        out = np.empty((len(rows), *rest), self.dtype)
        step = max(1, SPAN // max(1, int(np.prod(rest)) * self.dtype.itemsize))
        try:
            with self._open(self.key) as array:
                done = 0
                while done < len(rows):
                    low = int(rows[done])
                    end = int(np.searchsorted(rows, low + step))
                    block = array[(slice(None),) * axis + (slice(low, int(rows[end - 1]) + 1),)]
                    out[done:end] = np.moveaxis(block, axis, 0)[rows[done:end] - low]
                    done = end
        except DAMAGED as error:
            raise DataError(f"{self}: damaged ({_words(error)})") from error
        return out

    def all(self) -> np.ndarray:
        return self.take(np.arange(self.shape[0])) if self.shape else np.empty(0)


class _Held:
    """An array that needs no closing."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def __enter__(self) -> np.ndarray:
        return self.array

    def __exit__(self, *_) -> None:
        self.array = None


class _Within:
    """An array of an HDF5 file that is open as long as it is used."""

    def __init__(self, path: Path, key: str):
        self.path, self.key = path, key

    def __enter__(self) -> h5py.Dataset:
        self.file = h5py.File(self.path, "r", locking=False)
        return self.file[self.key]

    def __exit__(self, *_) -> None:
        self.file.close()


def _reader(path: Path) -> tuple[Callable, list[str]]:
    """(key → context that gives the array, the keys); mapped memory is let go after each use, so that it never adds up."""
    if h5py.is_hdf5(path):
        names: list[str] = []
        with h5py.File(path, "r", locking=False) as file:
            file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        return lambda key: _Within(path, key), names
    if path.suffix.lower() == ".npy":
        return lambda key: _Held(np.load(path, mmap_mode="r", allow_pickle=False)), [""]
    if zipfile.is_zipfile(path):
        return _npz(path)
    if path.suffix.lower() == ".mat":
        return _mat(path)
    raise OSError("no such format")


def _mat(path: Path) -> tuple[Callable, list[str]]:
    """Files of MATLAB before 7.3, whose arrays are read whole."""
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    held: dict[str, np.ndarray] = {}

    def read(key: str) -> _Held:
        if key not in held:
            held[key] = loadmat(path, variable_names=[key])[key]
        return _Held(held[key])

    try:
        return read, [name for name, _, _ in whosmat(path)]
    except MatReadError as error:
        raise ValueError(str(error)) from error


def _npz(path: Path) -> tuple[Callable, list[str]]:
    """An array of an .npz is unpacked to a temporary file on its first use, since a zip can only be read from its beginning."""
    with zipfile.ZipFile(path) as file:
        names = [name.removesuffix(".npy") for name in file.namelist()]
    folder = tempfile.TemporaryDirectory(prefix="vaepipe-")
    unpacked: dict[str, Path] = {}

    def read(key: str) -> _Held:
        if key not in unpacked:
            target = Path(folder.name, f"{len(unpacked)}.npy")
            with zipfile.ZipFile(path) as file, file.open(f"{key}.npy") as member:
                size = file.getinfo(f"{key}.npy").file_size
                if size > shutil.disk_usage(folder.name).free:
                    raise DataError(
                        f"{path}, {key}: {size} bytes unpacked, more than is free in {tempfile.gettempdir()}; set TMPDIR"
                    )
                with open(target, "wb") as out:
                    shutil.copyfileobj(member, out, 2**20)
            unpacked[key] = target
        return _Held(np.load(unpacked[key], mmap_mode="r", allow_pickle=False))

    return read, names


def _choose(path: Path, key: str | None, names: list[str]) -> str:
    if key is None and len(names) == 1:
        return names[0]
    if key is None or key not in names:
        lead = "several arrays, say which as key" if key is None else f"no array {key!r}"
        raise DataError(f"{path}: {lead}; it has {', '.join(names) or 'none'}")
    return key


def _axes(source: Source, axes: str | None) -> str:
    shape = source.shape
    if axes is None and len(shape) == 3:
        axes = "NHW"
    elif axes is None and len(shape) == 4:
        channel = next((i for i in (1, 3, 2) if shape[i] in (1, 3)), None)
        axes = {1: "NCHW", 3: "NHWC", 2: "HWCN"}.get(channel)
    if axes is None or len(axes) != len(shape):
        raise DataError(f"{source}: shape {shape} is not (N,H,W), (N,C,H,W) or (N,H,W,C) with 1 or 3 channels; say which axes")
    if "C" in axes and shape[axes.index("C")] not in (1, 3):
        raise DataError(f"{source}: {shape[axes.index('C')]} channels with axes {axes}, expected 1 or 3")
    return axes


def as_bytes(x: np.ndarray, rows: np.ndarray, source) -> np.ndarray:
    """Images as uint8: booleans are black and white, reals lie in [0,1], 16 bits are cut down to 8, other integers are 0..255."""
    if x.dtype == np.uint8:
        return x
    if x.dtype == bool:
        return x.astype(np.uint8) * 255
    top = 1 if x.dtype.kind == "f" else 65535 if x.dtype == np.uint16 else 255
    flat = x.reshape(len(x), -1)
    good = ((flat >= 0) & (flat <= top)).all(1)  # False for NaN
    if not good.all():
        i = int(np.argmin(good))
        value = flat[i][~((flat[i] >= 0) & (flat[i] <= top))][0]
        raise DataError(f"{source}: image {rows[i]} has the value {value}; {x.dtype} images lie in 0 to {top}")
    return np.round(x * (255 / top)).astype(np.uint8)


def _labels(path: Path, key: str, n: int) -> np.ndarray:
    found = Source(path, key).all().reshape(-1)
    if found.shape != (n,) or not (np.isfinite(found) & (found == np.round(found))).all():
        raise DataError(f"{path}, {key}: expected {n} whole numbers as labels, found {found.shape} {found.dtype}")
    return found.astype(np.int64)


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
