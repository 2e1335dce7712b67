"""Reads the HDF5 file of a prepared data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vaepipe.datasets.part import Part
from vaepipe.storage.errors import DataError
from vaepipe.storage.h5 import open_h5, read_text


def read_split(path: str | Path, split: str) -> Part:
    """Return one split, ``train`` or ``test``, of a prepared data set.

    Raises:
        DataError: the file is missing, damaged, of another kind, or has no such split.
    """
    with open_h5(path, "data") as file:
        if split not in file:
            raise DataError(f"{path}: has no split {split!r}; it has {', '.join(file)}")
        arrays = {key: file[split][key][:] for key in ("x", "label", "factors") if key in file[split]}
        return Part(**arrays, factor_names=tuple(json.loads(file.attrs["factor_names"])))


def read_digest(path: str | Path) -> str:
    """Return the digest of the content of a prepared data set: equal data have equal digests."""
    with open_h5(path, "data") as file:
        return read_text(file, "digest")


def read_spec(path: str | Path) -> dict[str, Any]:
    """Return the settings from which a prepared data set was made: its kind, checksum and options."""
    with open_h5(path, "data") as file:
        return dict(json.loads(read_text(file, "spec")))
