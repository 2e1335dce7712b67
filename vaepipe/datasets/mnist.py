"""MNIST and Fashion-MNIST. Source: LeCun et al. 1998 and Xiao et al. 2017; addresses, checksums and parser are torchvision's."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from torchvision.datasets import MNIST, FashionMNIST
from torchvision.datasets.utils import check_integrity

from vaepipe.datasets.part import Part
from vaepipe.datasets.sources.fetch import fetch
from vaepipe.storage.errors import DataError

KINDS = {"mnist": MNIST, "fashion-mnist": FashionMNIST}
UNREADABLE = (AssertionError, KeyError, RuntimeError, TypeError, ValueError)
"""What torchvision's parser raises on a file that is cut short or is something else."""


def load(name: str, path: Path | None, downloads: Path) -> dict[str, Part]:
    """Images (N,1,28,28) and their classes, in the official split: 60,000 for training, 10,000 for testing.

    Args:
        name: ``mnist`` or ``fashion-mnist``.
        path: a folder with the four official .gz files, or a torchvision root above them. Nothing is written there.
        downloads: torchvision root for what is fetched when there is no ``path``.

    Raises:
        DataError: a file is missing, has a wrong checksum, or could not be fetched.
    """
    kind = KINDS[name]
    if path is None:
        _download(name, kind, downloads / kind.__name__ / "raw")
    folder = path or downloads
    files = _raw_files(name, kind, folder)
    with tempfile.TemporaryDirectory() as root:
        raw = Path(root, kind.__name__, "raw")
        raw.mkdir(parents=True)
        for file in files:
            shutil.copyfile(file, raw / file.name)
        try:
            return {"train": _part(kind, root, True), "test": _part(kind, root, False)}
        except UNREADABLE as error:
            raise DataError(f"{folder}: torchvision cannot read the files of {name} ({' '.join(str(error).split())})") from error


def _part(kind: type[MNIST], root: str, train: bool) -> Part:
    data = kind(root, train=train, download=True)  # extracts; fetches nothing, since all files are there and checked
    return Part(data.data.numpy()[:, None], data.targets.numpy())


def _raw_files(name: str, kind: type[MNIST], folder: Path) -> list[Path]:
    """The four .gz files, their checksums verified; or, where there are none, the four extracted ones, which have no checksum."""
    places = (folder, folder / kind.__name__ / "raw")
    names = [file for file, _ in kind.resources]
    for place in places:
        if all((place / file).is_file() for file in names):
            for file, md5 in kind.resources:
                if not check_integrity(place / file, md5):
                    raise DataError(f"{place / file}: wrong checksum, not the official file of {name} (md5 {md5})")
            return [place / file for file in names]
    for place in places:
        extracted = [place / file.removesuffix(".gz") for file in names]
        if all(file.is_file() for file in extracted):
            return extracted
    place = max(places, key=lambda place: sum((place / file).is_file() for file in names))
    missing = next(file for file in names if not (place / file).is_file())
    raise DataError(f"{place / missing}: no such file; datasets.{name}.path takes the folder with the four official .gz files")


def _download(name: str, kind: type[MNIST], raw: Path) -> None:
    """Fetch what is not there yet. Only the .gz files are kept: extracted ones could be cut short without anyone noticing."""
    for file, md5 in kind.resources:
        fetch(name, raw, file, f"md5:{md5}", [mirror + file for mirror in kind.mirrors])
