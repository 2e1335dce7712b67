"""CIFAR-10. Source: Krizhevsky 2009; address, checksums and parser are torchvision's."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

import numpy as np
from torchvision.datasets import CIFAR10

from vaepipe.datasets.part import Part
from vaepipe.datasets.sources.fetch import fetch, verify_checksum
from vaepipe.storage.errors import DataError


def load(name: str, path: Path | None, downloads: Path) -> dict[str, Part]:
    """Return images (N,3,32,32) and their classes, in the official split: 50,000 for training, 10,000 for
    testing.

    Args:
        path: cifar-10-python.tar.gz, or the folder that contains the unpacked cifar-10-batches-py.

    Raises:
        DataError: a file is missing, has a wrong checksum (other pickles are not opened), or could not be
            downloaded.
    """
    checksum = f"md5:{CIFAR10.tgz_md5}"
    path = path or fetch(name, downloads, CIFAR10.filename, checksum, [CIFAR10.url])
    if path.is_dir():
        return _parts(path, path)
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; datasets.{name}.path takes {CIFAR10.filename} or its unpacked folder"
        )
    verify_checksum(path, checksum, name)
    with tempfile.TemporaryDirectory() as root, tarfile.open(path) as archive:
        # Python 3.11.0 to 3.11.3 have no filters; the archive's checksum is right in any case
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(root)
        return _parts(Path(root), path)


def _parts(root: Path, path: Path) -> dict[str, Part]:
    root = root.parent if root.name == CIFAR10.base_folder else root
    try:
        splits = {"train": CIFAR10(root, train=True), "test": CIFAR10(root, train=False)}
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"{path}: a file of {CIFAR10.base_folder} is missing or has a wrong checksum; fetch it again"
        ) from error
    return {
        split: Part(data.data.transpose(0, 3, 1, 2), np.array(data.targets, np.int64))
        for split, data in splits.items()
    }
