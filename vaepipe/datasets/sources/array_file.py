"""Arrays in files of numbers, read block by block, and their values as bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vaepipe.datasets.sources.array_formats import open_formats
from vaepipe.storage.errors import DataError

BLOCK_BYTES = 2**25
"""Bytes that are read at once."""


class ArrayFile:
    """One array of a file, with its ``shape`` and ``dtype`` in native byte order. `take` reads rows.

    Arrays of MATLAB have the shape that they have in MATLAB, whatever the version of the file; its logical
    arrays are booleans.

    Args:
        path: .npy, .npz (pickled data is refused), .h5, .hdf5, .safetensors, or .mat of any version.
        key: name of the array; None if the file has only one.

    Raises:
        DataError: the file is missing or damaged, or has no such array.
    """

    def __init__(self, path: Path, key: str | None = None):
        self.path = path
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        try:
            formats = open_formats(path)
            self._open = formats.open
            self.key = _choose_key(path, key, formats.names)
            self.is_matlab, self._reversed = formats.is_matlab, formats.is_reversed(self.key)
            is_logical = formats.is_logical(self.key)
            with self._open(self.key) as array:
                shape, dtype = tuple(array.shape or ()), array.dtype  # HDF5 has arrays without a shape
            self.shape: tuple[int, ...] = shape[::-1] if self._reversed else shape
            self.dtype = np.dtype(bool) if is_logical else dtype.newbyteorder("=")
        except DataError:
            raise
        except Exception as error:  # a reader may raise anything on a damaged file
            kinds = "an .npy, .npz, .h5, .mat or .safetensors file of arrays"
            raise DataError(f"{path}: damaged, or not {kinds} ({_one_line(error)})") from error
        if self.dtype.hasobject or self.dtype.kind not in "buif":
            raise DataError(f"{self}: holds {self.dtype}, expected numbers")

    def __str__(self) -> str:
        return f"{self.path}, {self.key}" if self.key else str(self.path)

    def take(self, rows: np.ndarray, axis: int = 0) -> np.ndarray:
        """Return increasing rows along an axis, which becomes the first axis.

        At most `BLOCK_BYTES` more than the returned array are in memory.
        """
        axis %= len(self.shape)
        stored_axis = len(self.shape) - 1 - axis if self._reversed else axis
        rest = tuple(n for i, n in enumerate(self.shape) if i != axis)
        out = np.empty((len(rows), *rest), self.dtype)
        step = max(1, BLOCK_BYTES // max(1, int(np.prod(rest)) * self.dtype.itemsize))
        try:
            with self._open(self.key) as array:
                done = 0
                while done < len(rows):
                    low = int(rows[done])
                    end = int(np.searchsorted(rows, low + step))
                    block = array[(slice(None),) * stored_axis + (slice(low, int(rows[end - 1]) + 1),)]
                    block = block.T if self._reversed else block
                    out[done:end] = np.moveaxis(block, axis, 0)[rows[done:end] - low]
                    done = end
        except DataError:
            raise
        except Exception as error:  # a reader may raise anything on a damaged file
            raise DataError(f"{self}: damaged ({_one_line(error)})") from error
        return out

    def all(self) -> np.ndarray:
        """Return the whole array."""
        return self.take(np.arange(self.shape[0])) if self.shape else np.empty(0)


def _choose_key(path: Path, key: str | None, names: list[str]) -> str:
    if key is None and len(names) == 1:
        return names[0]
    if not names:
        raise DataError(f"{path}: no arrays of numbers in it")
    if key is None or key not in names:
        problem = "several arrays, say which as key" if key is None else f"no array {key!r}"
        raise DataError(f"{path}: {problem}; it has {', '.join(names)}")
    return key


def as_bytes(
    x: np.ndarray, rows: np.ndarray, source: object, maximum: int | None = None, setting: str = "maximum"
) -> np.ndarray:
    """Return images as uint8: booleans become 0 and 255, reals in [0,1] and 16-bit integers are scaled to
    0..255.

    Args:
        x: images (n, …); other integers must lie in 0..255.
        rows: numbers of the images, for the error message.
        source: the file, for the error message.
        maximum: the value of white; None: that of the type.
        setting: the key of the configuration that sets ``maximum``, for the error message.

    Raises:
        DataError: names the first image with a value out of range.
    """
    if x.dtype == np.uint8 and maximum in (None, 255):
        return x
    if x.dtype == bool:
        return x.astype(np.uint8) * 255
    top = maximum or largest_value(x.dtype)
    flat = x.reshape(len(x), -1)
    in_range = (flat >= 0) & (flat <= top)  # False for NaN
    if not in_range.all():
        i = int(np.argmin(in_range.all(1)))
        value = flat[i][~in_range[i]][0]
        raise DataError(
            f"{source}: image {rows[i]} has the value {value}; {x.dtype} images lie in 0 to {top}"
            f"{'' if maximum else f', or set {setting}'}"
        )
    return np.round(x * (255 / top)).astype(np.uint8)


def largest_value(dtype: np.dtype) -> int:
    """Return the value of white."""
    if dtype.kind == "f":
        return 1
    return 65535 if dtype.kind == "u" and dtype.itemsize == 2 else 255


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
