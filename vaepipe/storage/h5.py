"""HDF5 files that describe themselves. They appear whole or not at all, and damage is found when they are
read."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vaepipe.storage import provenance
from vaepipe.storage.atomic import atomic
from vaepipe.storage.checksums import USER_BLOCK_BYTES, matches_h5_digest, write_h5_digest
from vaepipe.storage.errors import DataError
from vaepipe.storage.fail_safe_file import FailSafeFile

SCHEMA = 2
"""Version of the layout of all HDF5 files. Readers refuse any other."""

LIBVER = ("v110", "v110")
"""The format of HDF5 1.10, which has checksums of its own structures. Damage in older formats can crash
HDF5."""

LONG_TEXT_BYTES = 4000
"""In a file with many attributes, HDF5 may store longer texts outside the header, where no checksum covers
them."""

CHUNK_BYTES = 2**20
"""Bytes that are compressed together."""

COMPACT_VALUES = 64
"""Arrays of at most this many values lie in the header."""

WORTHWHILE_RATIO = 0.8
"""Arrays that zlib does not compress below this ratio, such as photographs, are stored uncompressed:
compressing them would take longer than decoding the image files."""


class Writer:
    """Adds arrays and attributes to a new HDF5 file.

    HDF5 verifies checksums when it reads: one for each chunk of an array, and the header's for small arrays
        and for texts
    of fixed length. Texts above `LONG_TEXT_BYTES` have no checksum, so a reader verifies the digest of the
    whole file.
    """

    def __init__(self, file: h5py.File, disk: FailSafeFile):
        self._file, self._disk = file, disk

    def add_attribute(self, key: str, value: Any) -> None:
        """Add an attribute of the file: a number or a text as it is, anything else as JSON."""
        if isinstance(value, (int, float)):
            self._file.attrs[key] = value
        else:
            self._file.attrs[key] = _fixed_length_text(value if isinstance(value, str) else json.dumps(value))

    def add(
        self, name: str, array: Any, description: str, blocks: Iterable[np.ndarray] | None = None
    ) -> None:
        """Add an array.

        Args:
            array: the array; with ``blocks`` only its shape and dtype are used.
            description: what it is, with shape and unit.
            blocks: the rows of the array in order, for arrays that do not fit into memory.
        """
        layout = _layout(array)
        if blocks is None:
            dataset = self._file.create_dataset(name, data=array, **layout)
            dataset.attrs["description"] = _fixed_length_text(description)
            self.check_disk()
            return
        dataset, done = None, 0
        for block in blocks:
            if dataset is None:
                layout |= _layout_of_incompressible(block, layout)
                dataset = self._file.create_dataset(name, array.shape, array.dtype, **layout)
                dataset.attrs["description"] = _fixed_length_text(description)
            dataset[done : done + len(block)] = block
            done += len(block)
            self.check_disk()

    def check_disk(self) -> None:
        """Raise the first write error, if any."""
        if self._disk.error:
            raise self._disk.error


@contextlib.contextmanager
def create_h5(path: str | Path, kind: str, attributes: dict[str, Any]) -> Iterator[Writer]:
    """Give a writer of a new file, which replaces ``path`` at the end of the block.

    Args:
        kind: what the file holds, such as ``"attack"``; readers ask for it.
        attributes: further attributes, see `Writer.add_attribute`.
    """
    with atomic(path) as temporary:
        with FailSafeFile(temporary) as disk:
            with h5py.File(disk, "w", libver=LIBVER, userblock_size=USER_BLOCK_BYTES) as file:
                writer = Writer(file, disk)
                for key, value in {
                    "kind": kind,
                    "schema": SCHEMA,
                    **provenance.record(),
                    **attributes,
                }.items():
                    writer.add_attribute(key, value)
                yield writer
            writer.check_disk()
        write_h5_digest(temporary)


def write_h5(
    path: str | Path, kind: str, arrays: dict[str, tuple[Any, str]], attributes: dict[str, Any]
) -> None:
    """Write arrays, name → (array, description), and attributes, see `create_h5`."""
    with create_h5(path, kind, attributes) as file:
        for name, (array, description) in arrays.items():
            file.add(name, np.asarray(array), description)


@contextlib.contextmanager
def open_h5(path: str | Path, kind: str) -> Iterator[h5py.File]:
    """Open a file of this package for reading. Only the arrays that are read are checked for damage.

    Raises:
        DataError: the file is missing, damaged, of another kind, or of an unknown schema.
    """
    remedy = "delete it to have it made again"
    damage = DataError(f"{path}: damaged, its digest differs; {remedy}")
    try:
        file = h5py.File(path, "r", locking=False)
    except Exception as error:  # h5py may raise anything on a damaged file
        reason = f"not a readable HDF5 file; {remedy}" if Path(path).exists() else "no such file"
        raise DataError(f"{path}: {reason}") from error
    with file:
        try:
            if _has_long_texts(file) and not matches_h5_digest(path):
                raise damage
            _check_kind(path, file, kind)
            yield file
        except DataError:
            raise
        except Exception as error:  # from HDF5 or from the caller's block: the digest tells
            if not matches_h5_digest(path):
                raise damage from error
            if isinstance(error, KeyError) and "Unable to" in str(error):  # as h5py writes it
                raise DataError(
                    f"{path}: another version wrote it, without all that is read; {remedy}"
                ) from error
            raise


def _has_long_texts(file: h5py.File) -> bool:
    return any(file.attrs.get_id(name).get_storage_size() > LONG_TEXT_BYTES for name in file.attrs)


def _check_kind(path: str | Path, file: h5py.File, kind: str) -> None:
    """Refuse a file of another kind or schema."""
    kind_there, schema_there = None, None
    if {"kind", "schema"} <= file.attrs.keys():
        kind_there, schema_there = read_text(file, "kind"), int(file.attrs["schema"])
    if (kind_there, schema_there) != (kind, SCHEMA):
        content = f"holds kind {kind_there!r}, schema {schema_there!r}"
        raise DataError(f"{path}: {content}; expected {kind!r}, schema {SCHEMA}")


def read_text(node: h5py.File | h5py.Dataset, key: str) -> str:
    """Return a text attribute of a file or array."""
    value = node.attrs[key]
    return value.decode() if isinstance(value, bytes) else str(value)


def bytes_per_row(array: Any) -> int:
    """Return the number of bytes of one row of an array."""
    return array.size // max(1, len(array)) * array.dtype.itemsize


def _fixed_length_text(text: str) -> np.ndarray:
    """Return a text of fixed length. h5py stores a str in a heap, which has no checksums."""
    data = text.encode()
    return np.array(data, h5py.string_dtype("utf-8", max(1, len(data))))


def _layout(array: Any) -> dict[str, Any]:
    """Return the arguments of `create_dataset` that say how an array is stored."""
    if array.size <= COMPACT_VALUES:
        compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        compact.set_layout(h5py.h5d.COMPACT)
        return {"dcpl": compact}
    layout = {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True}
    return layout | {"chunks": _chunks(array)} if array.ndim > 1 else layout


def _layout_of_incompressible(block: np.ndarray, layout: dict[str, Any]) -> dict[str, Any]:
    """Return the changes to the layout of an array that starts with this block, if compressing it is not
    worth while."""
    if "dcpl" in layout:
        return {}
    start = block[: layout["chunks"][0]] if "chunks" in layout else block
    if len(zlib.compress(np.ascontiguousarray(start).data, 1)) <= WORTHWHILE_RATIO * start.nbytes:
        return {}
    # gzip without compression keeps zlib's checksum, as Fletcher's cannot tell an all-white chunk from an
    # all-black one
    return {"compression_opts": 0, "shuffle": False}


def _chunks(array: Any) -> tuple[int, ...]:
    """Return the shape of chunks of about `CHUNK_BYTES`.

    Chunks are whole rows. For images (L,P,C,H,W) they hold all λ of a pair, which are often equal or nearly
    so.
    """
    if array.ndim == 5:
        lambdas, pairs, *image = array.shape
        images_per_chunk = max(1, CHUNK_BYTES // max(1, array[0, 0].nbytes))
        return (min(lambdas, images_per_chunk), max(1, min(pairs, images_per_chunk // lambdas)), *image)
    rows = CHUNK_BYTES // max(1, bytes_per_row(array))
    return (max(1, min(len(array), rows)), *array.shape[1:])
