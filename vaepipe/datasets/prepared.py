"""What the loaders share, and how later stages read what `vaepipe.stages.prepare` wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from vaepipe.datasets.part import Part
from vaepipe.storage.errors import DataError
from vaepipe.storage.h5 import open_h5, read_text


def read_split(path: str | Path, split: str) -> Part:
    """One split, ``train`` or ``test``, of a file written by `vaepipe.stages.prepare`.

    Raises:
        DataError: the file is missing, damaged, of another kind, or has no such split.
    """
    with open_h5(path, "data") as file:
        if split not in file:
            raise DataError(f"{path}: has no split {split!r}; it has {', '.join(file)}")
        arrays = {key: file[split][key][:] for key in ("x", "label", "factors") if key in file[split]}
        return Part(**arrays, factor_names=tuple(json.loads(file.attrs["factor_names"])))


def read_digest(path: str | Path) -> str:
    """Digest of the images of a file written by `vaepipe.stages.prepare`."""
    with open_h5(path, "data") as file:
        return read_text(file, "digest")


def check(name: str, parts: dict[str, Part]) -> None:
    """Refuse what no later stage could work with.

    Raises:
        DataError: naming the data set, the split and what is wrong with it.
    """
    for split, part in parts.items():
        if fault := _fault(part):
            raise DataError(f"{name}, {split}: {fault}")
    train, test = parts["train"], parts["test"]
    if train.x.shape[1:] != test.x.shape[1:] or train.x.dtype != test.x.dtype:
        found = [f"{part.x.shape[1:]} {part.x.dtype}" for part in (train, test)]
        raise DataError(f"{name}: training and test images differ: {found[0]} and {found[1]}")
    if _known(train) != _known(test):
        raise DataError(f"{name}: training and test parts do not know the same labels and factors")


def _fault(part: Part) -> str | None:
    x, label, factors = part.x, part.label, part.factors
    if not ((x.dtype == np.uint8 and x.ndim == 4) or (x.dtype == np.float32 and x.ndim == 2)):
        return f"expected images (N,C,H,W) uint8 or points (N,D) float32, found {x.shape} {x.dtype}"
    if not x.size:
        return f"empty, shape {x.shape}"
    if x.ndim == 2 and not np.isfinite(x).all():
        return "points that are not finite"
    for key, array, shape in (("label", label, (len(x),)), ("factors", factors, (len(x), len(part.factor_names)))):
        if array is not None and (array.shape != shape or not np.issubdtype(array.dtype, np.integer)):
            return f"expected integers {shape} as {key}, found {array.shape} {array.dtype}"
    return None


def _known(part: Part) -> tuple:
    return part.label is not None, part.factors is not None, part.factor_names
