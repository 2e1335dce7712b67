"""The images of an audit, as the section of a data set in the configuration."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vaepipe.datasets import array
from vaepipe.datasets.part import FEWEST
from vaepipe.datasets.registry import DATASETS
from vaepipe.datasets.sources.tree import ImageTree
from vaepipe.storage.errors import DataError
from vaepipe.tools import zoo

ARRAYS = (".npy", ".npz", ".h5", ".mat", ".safetensors")
LEAST = 2 * FEWEST
"""Images that an audit needs: half of so few are held out, and a pair needs two."""


@dataclass(frozen=True)
class Images:
    """Images before they are prepared.

    Attributes:
        dataset: name of the data set in paths and tables.
        source: its keys in the configuration.
        shape: (C, H, W) of the first image.
        name: as the user wrote it.
    """

    dataset: str
    source: dict[str, Any]
    shape: tuple[int, int, int]
    name: str

    @property
    def are_files(self) -> bool:
        """Whether they are image files, which are cropped and resized."""
        return self.source["kind"] == "folder"

    def as_model_takes(self, shape: tuple[int, ...]) -> Images:
        """Return the images in the shape of the model: files are cropped, resized and get its channels.

        Raises:
            DataError: these are not files, or the shape is not square.
        """
        channels, height, width = shape
        if self.are_files:
            if height != width:
                rule = "image files are made square, give an array instead"
                raise DataError(f"--shape: {height}×{width}; {rule}")
            return replace(self, source={**self.source, "size": height, "channels": channels})
        if shape != self.shape:
            given = f"images are {sizes(self.shape)}; the model takes {sizes(shape)}"
            rule = "give a folder of image files, which are resized, or another model"
            raise DataError(f"--images {self.name}: {given}; {rule}")
        return self

    def line(self, shape: tuple[int, ...]) -> str:
        """Return what the model sees, and what of."""
        changed = f", cropped and resized from {sizes(self.shape)}" if shape != self.shape else ""
        return f"images {sizes(shape)}{changed}"


def sizes(shape: tuple[int, ...]) -> str:
    """Return (C, H, W) as people write it."""
    channels, height, width = shape
    return f"{width}×{height} {'grey' if channels == 1 else 'colour'}"


def find_images(images: Any, model: Any, work: Path) -> Images:
    """Return the images that the user names; those of a model of the zoo by default.

    Args:
        images: (N, C, H, W) array or tensor, a path, the name of a generated data set, or None.
        model: as the user names it.
        work: folder where an array is written.

    Raises:
        DataError: there are none, or fewer than `LEAST`, or they are no images.
    """
    if images is None and isinstance(model, str) and model.startswith("zoo:"):
        images = zoo.models().set_index("name").loc[model.removeprefix("zoo:"), "dataset"]
    if images is None:
        raise DataError("--images: missing; give a folder, a .zip, an array file or a generated data set")
    if not isinstance(images, (str, Path)):
        np.save(work / "images.npy", _bytes(images))
        return _of_array("images.npy", work / "images.npy", "of Python")
    generated = [name for name, info in DATASETS.items() if info.generated and info.images]
    if str(images) in generated:
        shape = DATASETS[str(images)].shape
        return Images(str(images), {"kind": str(images)}, (shape[0], shape[1], shape[2]), str(images))
    path = Path(images).resolve()
    if not path.exists():
        raise DataError(f"--images {images}: no such folder or file; {' or '.join(generated)} are generated")
    if path.suffix in ARRAYS:
        return _of_array(str(path), path, str(images))
    tree = ImageTree(path)
    _check_count(len(tree.names), str(images))
    with Image.open(io.BytesIO(tree.read(tree.names[0]))) as image:
        channels = 1 if image.mode in ("1", "L", "I;16", "I", "F") else 3
        shape = (channels, image.height, image.width)
    return Images("images", {"kind": "folder", "path": str(path)}, shape, str(images))


def _of_array(key: str, path: Path, name: str) -> Images:
    parts = array.load("images", path, Path())
    _check_count(sum(len(part.x) for part in parts.values()), name)
    return Images("images", {"kind": "array", "path": key}, parts["test"].x.shape[1:], name)


def _check_count(count: int, name: str) -> None:
    if count < LEAST:
        raise DataError(f"--images {name}: {count} image{'s' * (count != 1)}; at least {LEAST} are needed")


def _bytes(images: Any) -> np.ndarray:
    """Return images (N, C, H, W) of bytes.

    Raises:
        DataError: shape or values are not those of images.
    """
    x = np.asarray(images.detach().cpu() if isinstance(images, torch.Tensor) else images)
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise DataError(f"images: shape {x.shape}; expected (N, C, H, W) with 1 or 3 channels")
    if x.dtype == np.uint8:
        return x
    if not ((x >= 0) & (x <= 1)).all():
        raise DataError(f"images: values from {x.min():g} to {x.max():g}; expected [0,1] or bytes")
    return np.round(255 * x).astype(np.uint8)
