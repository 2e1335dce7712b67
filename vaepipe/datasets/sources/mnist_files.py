"""The four files of MNIST and of data sets in its format."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from torchvision.datasets import MNIST
from torchvision.datasets.utils import check_integrity

from vaepipe.datasets.part import Part
from vaepipe.datasets.sources.fetch import fetch
from vaepipe.storage.errors import DataError

UNPACKED_MD5 = {
    "MNIST": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "FashionMNIST": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}
"""Of the official files without .gz, computed from the official .gz files: to tell one data set from the
other."""
UNREADABLE = (AssertionError, KeyError, RuntimeError, TypeError, ValueError)
"""What torchvision's parser raises on a file that is cut short or of another format."""


def load_official_files(kind: type[MNIST], name: str, path: Path | None, downloads: Path) -> dict[str, Part]:
    """Return images (N,1,28,28) and their classes, in the official split.

    Args:
        kind: torchvision's class, which knows names, addresses and checksums.
        name: the user's name of the data set, for error messages.
        path: a folder with the four official .gz files, or a torchvision root above them; nothing is written
            there.
        downloads: torchvision root for the downloads if there is no ``path``.

    Raises:
        DataError: a file is missing, has a wrong checksum, or could not be downloaded.
    """
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
            reason = " ".join(str(error).split())
            raise DataError(f"{folder}: torchvision cannot read the files of {name} ({reason})") from error


def _part(kind: type[MNIST], root: str, train: bool) -> Part:
    data = kind(root, train=train, download=True)  # only extracts: all files are there and checked
    return Part(data.data.numpy()[:, None], data.targets.numpy())


def _raw_files(name: str, kind: type[MNIST], folder: Path) -> list[Path]:
    """Return the four .gz files, their checksums verified; or else the four extracted files, which have
    none."""
    places = (folder, folder / kind.__name__ / "raw")
    names = [file for file, _ in kind.resources]
    for place in places:
        if all((place / file).is_file() for file in names):
            for file, md5 in kind.resources:
                if not check_integrity(place / file, md5):
                    raise DataError(
                        f"{place / file}: wrong checksum, not the official file of {name} (md5 {md5})"
                    )
            return [place / file for file in names]
    for place in places:
        extracted = [place / file.removesuffix(".gz") for file in names]
        if all(file.is_file() for file in extracted):
            _refuse_other(name, kind, extracted)
            return extracted
    place = max(places, key=lambda place: sum((place / file).is_file() for file in names))
    missing = next(file for file in names if not (place / file).is_file())
    advice = f"datasets.{name}.path takes the folder with the four official .gz files"
    raise DataError(f"{place / missing}: no such file; {advice}")


def _refuse_other(name: str, kind: type[MNIST], extracted: list[Path]) -> None:
    """Refuse unpacked files that are those of another data set in this format."""
    for other, known in UNPACKED_MD5.items():
        for file in extracted:
            if other != kind.__name__ and check_integrity(file, known[file.name]):
                raise DataError(f"{file}: this is the file of {other}, not of {name}, a {kind.__name__}")


def _download(name: str, kind: type[MNIST], raw: Path) -> None:
    """Download missing files. Only the .gz files are kept, because extracted files have no checksum."""
    for file, md5 in kind.resources:
        fetch(name, raw, file, f"md5:{md5}", [mirror + file for mirror in kind.mirrors])
