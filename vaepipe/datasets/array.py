"""A user's own array of images: .npy, .npz, .h5, .mat or .safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vaepipe.datasets.part import LazyImages, Part, hold_out_tenth
from vaepipe.datasets.ranges import SeenRange, check_range
from vaepipe.datasets.sources.array_file import BLOCK_BYTES, ArrayFile, as_bytes, largest_value
from vaepipe.storage.errors import DataError

CHANNELS = (1, 3)


def load(
    name: str,
    path: Path | None,
    downloads: Path,
    key: str | None = None,
    labels: str | None = None,
    axes: str | None = None,
    maximum: int | None = None,
) -> dict[str, Part]:
    """Return the images of a user's own file; one in ten is held out.

    Args:
        key: name of the array in the file; not needed if the file has only one.
        labels: name of the array of classes in the same file.
        axes: order of the axes, such as ``NHWC``; None takes N first and finds the channels by their number,
            1 or 3.
        maximum: the value of white; None: that of the array's type.

    Raises:
        DataError: there is no file or no such array, or its values are not those of images.
    """
    if path is None:
        kinds = "a .npy, .npz, .h5, .mat or .safetensors file"
        raise DataError(f"{name}: datasets.{name}.path is missing; give {kinds}")
    source = ArrayFile(path, key)
    classes = ArrayFile(path, labels).all().reshape(-1) if labels else None
    axes = _choose_axes(name, source, axes, None if classes is None else len(classes))
    image_axis = axes.index("N")
    sides = [axes.index(axis) for axis in "CHW" if axis in axes]
    channels, height, width = (1, 1, *(source.shape[i] for i in sides))[-3:]
    image_shape = (channels, height, width)
    order = [axes.replace("N", "").index(axis) for axis in "CHW" if axis in axes]  # of what `take` returns
    seen = SeenRange()

    def read(rows: np.ndarray) -> np.ndarray:
        x = source.take(rows, image_axis).transpose(0, *(1 + i for i in order))
        if x.size and x.dtype != bool:
            seen.add(x.min().item(), x.max().item())
        try:
            x = as_bytes(x, rows, source, maximum, f"datasets.{name}.maximum")
        except DataError as error:
            raise DataError(f"{error}; {_whole_range(source)}") from error
        return x.reshape(len(rows), *image_shape)

    def report() -> dict[str, Any]:
        if seen.low is None or seen.high is None:
            return {"values": ["false and true"], "axes": [axes]}
        white = maximum or largest_value(source.dtype)
        if maximum is None and source.dtype.kind in "iu":
            check_range(name, f"{source}: {source.dtype} images", white, seen.low, seen.high)
        return {"values": [f"{source.dtype}, {seen.low} to {seen.high}, white is {white}"], "axes": [axes]}

    count = source.shape[image_axis]
    x = LazyImages(read, image_shape, np.arange(count))
    label = None if classes is None else _check_labels(path, labels, classes, count)
    return hold_out_tenth(Part(x, label, report=report))


def _whole_range(source: ArrayFile) -> str:
    """Return in words the range of all values of an array."""
    size = int(np.prod(source.shape)) * source.dtype.itemsize
    blocks = np.array_split(np.arange(source.shape[0]), 1 + size // BLOCK_BYTES)
    pairs = [(np.fmin.reduce(x, None), np.fmax.reduce(x, None)) for x in map(source.take, blocks) if x.size]
    low, high = min(pair[0] for pair in pairs), max(pair[1] for pair in pairs)
    return f"all values are from {low} to {high}"


def _choose_axes(name: str, source: ArrayFile, axes: str | None, labels: int | None) -> str:
    """Return the order of the axes: as given, or found from the shape and the number of labels."""
    shape = source.shape
    if axes is None:
        axes = _find_axes(name, source, labels)
    if axes is None or len(axes) != len(shape):
        known = "(N,H,W), (N,C,H,W) or (N,H,W,C) with 1 or 3 channels"
        raise DataError(f"{source}: shape {shape} is not {known}; say which axes (datasets.{name}.axes)")
    if "C" in axes and shape[axes.index("C")] not in CHANNELS:
        raise DataError(f"{source}: {shape[axes.index('C')]} channels with axes {axes}, expected 1 or 3")
    return axes


def _find_axes(name: str, source: ArrayFile, labels: int | None) -> str | None:
    """Return the order of the axes, or None if the shape is not one of images."""
    shape = source.shape
    if len(shape) == 4:
        found = [axes for i, axes in ((1, "NCHW"), (3, "NHWC"), (2, "HWCN")) if shape[i] in CHANNELS]
        fitting = [axes for axes in found if labels is None or shape[axes.index("N")] == labels]
        return next(iter(fitting or found), None)
    if len(shape) != 3:
        return None
    if not source.is_matlab:
        last = labels is not None and shape[0] != labels and shape[2] == labels
        return "HWN" if last else "NHW"
    # MATLAB has the images last by habit, scipy writes them first: labels or square images tell
    candidates = {"NHW": (shape[0], shape[1] == shape[2]), "HWN": (shape[2], shape[0] == shape[1])}
    fitting = [
        axes for axes, (count, square) in candidates.items() if (count == labels if labels else square)
    ]
    if len(fitting) != 1:
        raise DataError(
            f"{source}: shape {shape} may be images first or last; set datasets.{name}.axes to NHW or HWN"
        )
    return fitting[0]


def _check_labels(path: Path, key: str | None, labels: np.ndarray, count: int) -> np.ndarray:
    if labels.shape != (count,) or not (np.isfinite(labels) & (labels == np.round(labels))).all():
        expected = f"expected {count} whole numbers as labels"
        raise DataError(f"{path}, {key}: {expected}, found {labels.shape} {labels.dtype}")
    return labels.astype(np.int64)
