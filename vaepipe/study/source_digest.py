"""What decides whether a data set is prepared again, and whether what follows is made again."""

from __future__ import annotations

from pathlib import Path

from vaepipe.datasets.registry import DATASETS
from vaepipe.datasets.sources.names import HEAD_BYTES, has_image_suffix, looks_like_image, may_be_image
from vaepipe.storage.digests import KnownDigests, files_digest
from vaepipe.storage.walk import once, walk


def source_digest(kind: str, path: str | Path | None, cache: Path | None = None) -> str:
    """Return a digest of the contents of the files that a kind of data set reads at a path. Neither the path
    itself nor dates, hidden files or files of other kinds count. Empty: there is nothing at the path.

    Args:
        cache: a JSON file of known digests; files of unchanged size and date are not read again.
    """
    if not path or not Path(path).exists():
        return ""
    path, known = Path(path), KnownDigests(cache)
    if path.is_file():
        digest = known.find(path)
        known.save()
        return digest
    files = once(walk(path).files)[0]
    only_images = DATASETS[kind].reads_images
    return files_digest(path, files, lambda name: not only_images or _is_read(path, name), known)


def prepared_digest(path: str | Path, cache: Path | None = None) -> str:
    """Return the digest of the content of a prepared data set; arguments as `source_digest`. If the file is
    not there, it is the digest that it had last."""

    def read(place: str) -> str:
        from vaepipe.datasets.prepared import read_digest  # not at the top: a plan seldom needs HDF5

        return read_digest(place)

    known = KnownDigests(cache)
    digest = known.find(path, read)
    known.save()
    return digest


def _is_read(folder: Path, name: str) -> bool:
    """Return whether a file is read as an image, by its suffix or, without one, by its content."""
    if has_image_suffix(name) or not may_be_image(name):
        return has_image_suffix(name)
    try:
        with open(folder / name, "rb") as file:
            return looks_like_image(file.read(HEAD_BYTES))
    except OSError:
        return True
