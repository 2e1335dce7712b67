"""A user's own array of images: .npy, .npz, .h5 or .mat."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vaepipe.datasets.part import LazyImages, Part, hold_out_tenth
from vaepipe.datasets.sources.array_file import ArrayFile, as_bytes
from vaepipe.storage.errors import DataError

CHANNELS = (1, 3)


def load(
    name: str,
    path: Path | None,
    downloads: Path,
    key: str | None = None,
    labels: str | None = None,
    axes: str | None = None,
) -> dict[str, Part]:
    """Return the images of a user's own file; one in ten is held out.

    Args:
        key: name of the array in the file; not needed if the file has only one.
        labels: name of the array of classes in the same file.
        axes: order of the axes, such as ``NHWC``; None takes N first and finds the channels by their number,
            1 or 3.

    Raises:
        DataError: there is no file or no such array, or its values are not those of images.
    """
    if path is None:
        raise DataError(f"{name}: datasets.{name}.path is missing; give a .npy, .npz, .h5 or .mat file")
    source = ArrayFile(path, key)
    axes = _choose_axes(source, axes)
    image_axis = axes.index("N")
    sides = [axes.index(axis) for axis in "CHW" if axis in axes]
    image_shape = tuple(source.shape[i] for i in sides)
    image_shape = image_shape if len(image_shape) == 3 else (1, *image_shape)
    order = [axes.replace("N", "").index(axis) for axis in "CHW" if axis in axes]  # of what `take` returns

    def read(rows: np.ndarray) -> np.ndarray:
        x = source.take(rows, image_axis).transpose(0, *(1 + i for i in order))
        return as_bytes(x, rows, source).reshape(len(rows), *image_shape)

    count = source.shape[image_axis]
    x = LazyImages(read, image_shape, np.arange(count))
    return hold_out_tenth(Part(x, _read_labels(path, labels, count) if labels else None))


def _choose_axes(source: ArrayFile, axes: str | None) -> str:
    """Return the order of the axes: as given, or found from the shape."""
    shape = source.shape
    if axes is None and len(shape) == 3:
        axes = "NHW"
    elif axes is None and len(shape) == 4:
        channel = next((i for i in (1, 3, 2) if shape[i] in CHANNELS), None)
        axes = {1: "NCHW", 3: "NHWC", 2: "HWCN", None: None}[channel]
    if axes is None or len(axes) != len(shape):
        known = "(N,H,W), (N,C,H,W) or (N,H,W,C) with 1 or 3 channels"
        raise DataError(f"{source}: shape {shape} is not {known}; say which axes")
    if "C" in axes and shape[axes.index("C")] not in CHANNELS:
        raise DataError(f"{source}: {shape[axes.index('C')]} channels with axes {axes}, expected 1 or 3")
    return axes


def _read_labels(path: Path, key: str, count: int) -> np.ndarray:
    labels = ArrayFile(path, key).all().reshape(-1)
    if labels.shape != (count,) or not (np.isfinite(labels) & (labels == np.round(labels))).all():
        expected = f"expected {count} whole numbers as labels"
        raise DataError(f"{path}, {key}: {expected}, found {labels.shape} {labels.dtype}")
    return labels.astype(np.int64)
