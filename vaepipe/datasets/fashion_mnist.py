"""Fashion-MNIST. Source: Xiao et al. 2017; addresses, checksums and parser are torchvision's."""

from __future__ import annotations

from pathlib import Path

from torchvision.datasets import FashionMNIST

from vaepipe.datasets.part import Part
from vaepipe.datasets.sources.mnist_files import load_official_files


def load(name: str, path: Path | None, downloads: Path) -> dict[str, Part]:
    """Return images (N,1,28,28) and their classes, in the official split: 60,000 and 10,000."""
    return load_official_files(FashionMNIST, name, path, downloads)
