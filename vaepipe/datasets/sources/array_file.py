"""Arrays in .npy, .npz, .h5 and .mat files, read block by block."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import h5py
import numpy as np

from vaepipe.storage.errors import DataError

BLOCK_BYTES = 2**25
"""Bytes that are read at once."""
DAMAGED = (OSError, KeyError, ValueError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What numpy, h5py and scipy raise on files that are cut short or of another format."""


class ArrayFile:
    """One array of a file, with its ``shape`` and ``dtype``. `take` reads rows.

    Args:
        path: .npy, .npz (pickled data is refused), .h5, .hdf5, or .mat of any version.
        key: name of the array; None if the file has only one.

    Raises:
        DataError: the file is missing or damaged, or has no such array.
    """

    def __init__(self, path: Path, key: str | None = None):
        self.path = path
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        try:
            self._open, names = _open_reader(path)
            self.key = _choose_key(path, key, names)
            with self._open(self.key) as array:
                self.shape, self.dtype = tuple(array.shape), array.dtype
        except DataError:
            raise
        except DAMAGED as error:
            kinds = "an .npy, .npz, .h5 or .mat file of arrays"
            raise DataError(f"{path}: damaged, or not {kinds} ({_one_line(error)})") from error
        if self.dtype.hasobject or self.dtype.kind not in "buif":
            raise DataError(f"{self}: holds {self.dtype}, expected numbers")

    def __str__(self) -> str:
        return f"{self.path}, {self.key}" if self.key else str(self.path)

    def take(self, rows: np.ndarray, axis: int = 0) -> np.ndarray:
        """Return increasing rows along an axis, which becomes the first axis.

        At most `BLOCK_BYTES` more than the returned array are in memory.
        """
        rest = tuple(n for i, n in enumerate(self.shape) if i != axis)
        out = np.empty((len(rows), *rest), self.dtype)
        step = max(1, BLOCK_BYTES // max(1, int(np.prod(rest)) * self.dtype.itemsize))
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
            raise DataError(f"{self}: damaged ({_one_line(error)})") from error
        return out

    def all(self) -> np.ndarray:
        """Return the whole array."""
        return self.take(np.arange(self.shape[0])) if self.shape else np.empty(0)


class _InMemory:
    """The context of an array that needs no closing."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def __enter__(self) -> np.ndarray:
        return self.array

    def __exit__(self, *_) -> None:
        del self.array


class _InHdf5:
    """The context of an array in an HDF5 file, which is open only inside the context."""

    def __init__(self, path: Path, key: str):
        self.path, self.key = path, key

    def __enter__(self) -> h5py.Dataset:
        self.file = h5py.File(self.path, "r", locking=False)
        return self.file[self.key]

    def __exit__(self, *_) -> None:
        self.file.close()


Reader = Callable[[str], AbstractContextManager]
"""Takes a key and gives a context, which gives the array."""


def _open_reader(path: Path) -> tuple[Reader, list[str]]:
    """Return (reader, keys) of a file. Mapped memory is released after each use."""
    if h5py.is_hdf5(path):
        names: list[str] = []
        with h5py.File(path, "r", locking=False) as file:
            file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        return lambda key: _InHdf5(path, key), names
    if path.suffix.lower() == ".npy":
        return lambda key: _InMemory(np.load(path, mmap_mode="r", allow_pickle=False)), [""]
    if zipfile.is_zipfile(path):
        return _open_npz(path)
    if path.suffix.lower() == ".mat":
        return _open_mat(path)
    raise OSError("no such format")


def _open_mat(path: Path) -> tuple[Reader, list[str]]:
    """Open a file of MATLAB before 7.3. Its arrays are read whole."""
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    arrays: dict[str, np.ndarray] = {}

    def read(key: str) -> _InMemory:
        if key not in arrays:
            arrays[key] = loadmat(path, variable_names=[key])[key]
        return _InMemory(arrays[key])

    try:
        return read, [name for name, _, _ in whosmat(path)]
    except MatReadError as error:
        raise ValueError(str(error)) from error


def _open_npz(path: Path) -> tuple[Reader, list[str]]:
    """Open an .npz file. An array is unpacked to a temporary file at its first use, as zips have no random
    access."""
    with zipfile.ZipFile(path) as file:
        names = [name.removesuffix(".npy") for name in file.namelist()]
    folder = tempfile.TemporaryDirectory(prefix="vaepipe-")
    unpacked: dict[str, Path] = {}

    def read(key: str) -> _InMemory:
        if key not in unpacked:
            target = Path(folder.name, f"{len(unpacked)}.npy")
            with zipfile.ZipFile(path) as file, file.open(f"{key}.npy") as member:
                size = file.getinfo(f"{key}.npy").file_size
                if size > shutil.disk_usage(folder.name).free:
                    free = f"more than is free in {tempfile.gettempdir()}; set TMPDIR"
                    raise DataError(f"{path}, {key}: {size} bytes unpacked, {free}")
                with open(target, "wb") as out:
                    shutil.copyfileobj(member, out, 2**20)
            unpacked[key] = target
        return _InMemory(np.load(unpacked[key], mmap_mode="r", allow_pickle=False))

    return read, names


def _choose_key(path: Path, key: str | None, names: list[str]) -> str:
    if key is None and len(names) == 1:
        return names[0]
    if key is None or key not in names:
        problem = "several arrays, say which as key" if key is None else f"no array {key!r}"
        raise DataError(f"{path}: {problem}; it has {', '.join(names) or 'none'}")
    return key


def as_bytes(x: np.ndarray, rows: np.ndarray, source: object) -> np.ndarray:
    """Return images as uint8: booleans become 0 and 255, reals in [0,1] and 16-bit integers are scaled to
    0..255.

    Args:
        x: images (n, …); other integers must lie in 0..255.
        rows: numbers of the images, for the error message.
        source: the file, for the error message.

    Raises:
        DataError: names the first image with a value out of range.
    """
    if x.dtype == np.uint8:
        return x
    if x.dtype == bool:
        return x.astype(np.uint8) * 255
    top = _largest_value(x.dtype)
    flat = x.reshape(len(x), -1)
    in_range = (flat >= 0) & (flat <= top)  # False for NaN
    if not in_range.all():
        i = int(np.argmin(in_range.all(1)))
        value = flat[i][~in_range[i]][0]
        raise DataError(
            f"{source}: image {rows[i]} has the value {value}; {x.dtype} images lie in 0 to {top}"
        )
    return np.round(x * (255 / top)).astype(np.uint8)


def _largest_value(dtype: np.dtype) -> int:
    """Return the value of white."""
    if dtype.kind == "f":
        return 1
    return 65535 if dtype == np.uint16 else 255


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
