"""Files: HDF5 that describes itself, weights, tables. All written to a temporary name beside the target, then renamed."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np

from vaepipe.storage import checksums as integrity
from vaepipe.storage import provenance
from vaepipe.storage.atomic import atomic
from vaepipe.storage.disk import Disk
from vaepipe.storage.errors import DataError

SCHEMA = 2
"""Version of the layout of all HDF5 files; readers refuse any other."""

LIBVER = ("v110", "v110")
"""The format of HDF5 1.10, which has checksums of its own structures, as a damaged file of older formats can crash HDF5."""

LONG = 4000
"""Bytes of a text from about which on HDF5 keeps it, in a file with many, where no checksum of its own covers it."""

CHUNK = 2**20
"""Bytes that are compressed together."""

WORTH = 0.8
"""Images that compress to no less than this share, photographs, are stored as they are: they would take longer to compress
than to decode."""


class Writer:
    """A new HDF5 file that arrays are added to, one after the other. What it holds has checksums, which HDF5 checks when it is
    read: arrays one for each chunk, small ones and texts, of fixed length, that of the header in which they lie. Of texts above
    `LONG` there is none: a reader takes the digest of the whole file for them."""

    def __init__(self, file: h5py.File, disk: Disk):
        self._file, self._disk = file, disk

    def say(self, key: str, value) -> None:
        """Add an attribute of the file: a number, or text; anything else as JSON."""
        number = isinstance(value, (int, float))
        self._file.attrs[key] = value if number else _text(value if isinstance(value, str) else json.dumps(value))

    def add(self, name: str, array, description: str, blocks: Iterable[np.ndarray] | None = None) -> None:
        """Add one array with what it is.

        Args:
            array: the array; with ``blocks`` only its shape and dtype count.
            description: with shape and unit.
            blocks: its rows one after the other, where the whole is not in memory.
        """
        if small := array.size <= 64:
            packed = {"dcpl": h5py.h5p.create(h5py.h5p.DATASET_CREATE)}
            packed["dcpl"].set_layout(h5py.h5d.COMPACT)
        else:
            packed = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True}
        if not small and array.ndim > 1:
            packed["chunks"] = _chunks(array)
        if blocks is None:
            self._file.create_dataset(name, data=array, **packed).attrs["description"] = _text(description)
            return self.check()
        done, dataset = 0, None
        for block in blocks:
            if dataset is None:
                some = block[: packed["chunks"][0]] if "chunks" in packed else block
                if not small and len(zlib.compress(some, 1)) > WORTH * some.nbytes:
                    packed |= {"compression_opts": 0, "shuffle": False}  # only zlib's checksum: to HDF5's all white is all black
                dataset = self._file.create_dataset(name, array.shape, array.dtype, **packed)
                dataset.attrs["description"] = _text(description)
            dataset[done : done + len(block)] = block
            done += len(block)
            self.check()

    def check(self) -> None:
        """Raise what the disk said."""
        if self._disk.error:
            raise self._disk.error


@contextlib.contextmanager
def create_h5(path: str | Path, kind: str, attrs: dict) -> Iterator[Writer]:
    """A new file, replaced as a whole, with its digest, when the block ends well.

    Args:
        path: target.
        kind: what the file is, such as ``"attack"``; a reader asks for it by name.
        attrs: further attributes; what is not text or a number is stored as JSON.
    """
    with atomic(path) as temporary:
        with Disk(temporary) as disk:
            with h5py.File(disk, "w", libver=LIBVER, userblock_size=integrity.USER_BLOCK) as file:
                writer = Writer(file, disk)
                for key, value in {"kind": kind, "schema": SCHEMA, **provenance.record(), **attrs}.items():
                    writer.say(key, value)
                yield writer
            writer.check()
        integrity.seal(temporary)


def write_h5(path: str | Path, kind: str, arrays: dict[str, tuple[np.ndarray, str]], attrs: dict) -> None:
    """Write arrays, name → (array, description), and attributes as `create_h5` takes them."""
    with create_h5(path, kind, attrs) as file:
        for name, (array, description) in arrays.items():
            file.add(name, np.asarray(array), description)


def _text(text: str) -> np.ndarray:
    """As HDF5 keeps text in place; what h5py makes of a str lies in a heap without checksums."""
    data = text.encode()
    return np.array(data, h5py.string_dtype("utf-8", max(1, len(data))))


def read_text(node: h5py.File | h5py.Dataset, key: str) -> str:
    """A text attribute of a file or array."""
    value = node.attrs[key]
    return value.decode() if isinstance(value, bytes) else str(value)


def _chunks(array) -> tuple[int, ...]:
    """About a megabyte: whole rows, or for pictures (L, P, C, H, W) all λ of a pair, which often are equal or near."""
    if array.ndim == 5:
        L, P, *image = array.shape
        room = max(1, CHUNK // max(1, array[0, 0].nbytes))
        return (min(L, room), max(1, min(P, room // L)), *image)
    return (max(1, min(len(array), CHUNK // max(1, row_bytes(array)))), *array.shape[1:])


def row_bytes(array) -> int:
    """Bytes of one row."""
    return array.size // max(1, len(array)) * array.dtype.itemsize


@contextlib.contextmanager
def open_h5(path: str | Path, kind: str) -> Iterator[h5py.File]:
    """Open a file of this package for reading; only what is read is checked for damage, pictures that nobody asks for are not.

    Raises:
        DataError: the file is missing, damaged, of another kind, or of an unknown schema.
    """
    remedy = "delete it to have it made again"
    damaged = DataError(f"{path}: damaged, its digest differs; {remedy}")
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        reason = f"not a readable HDF5 file; {remedy}" if Path(path).exists() else "no such file"
        raise DataError(f"{path}: {reason}") from error
    with file:
        try:
            if any(file.attrs.get_id(name).get_storage_size() > LONG for name in file.attrs) and not integrity.sealed(path):
                raise damaged
            found = (
                (read_text(file, "kind"), int(file.attrs["schema"])) if {"kind", "schema"} <= file.attrs.keys() else (None, None)
            )
            if found != (kind, SCHEMA):
                raise DataError(f"{path}: holds kind {found[0]!r}, schema {found[1]!r}; expected {kind!r}, schema {SCHEMA}")
            yield file
        except (OSError, KeyError, RuntimeError) as error:  # of HDF5, or of what is done with the file: its digest tells
            if integrity.sealed(path):
                raise
            raise damaged from error
