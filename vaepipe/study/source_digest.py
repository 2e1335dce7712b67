"""One digest of the files that a data set is read from, so that equal data are not prepared again."""

from __future__ import annotations

from pathlib import Path

from vaepipe.datasets.registry import DATASETS
from vaepipe.datasets.sources.names import HEAD_BYTES, has_image_suffix, looks_like_image, may_be_image
from vaepipe.storage.digests import files_digest
from vaepipe.storage.walk import FoundFile, once, walk


def source_digest(kind: str, path: str | Path | None, cache: Path | None = None) -> str:
    """Return a digest of the contents of the files that a kind of data set reads at a path. Neither the path
    itself nor dates, hidden files or files of other kinds count. Empty: there is nothing at the path.

    Args:
        cache: a JSON file of known digests; files of unchanged size and date are not read again.
    """
    if not path or not Path(path).exists():
        return ""
    path = Path(path)
    if path.is_file():
        status = path.stat()
        file = FoundFile(path.name, status.st_size, status.st_mtime_ns, (0, 0), False)
        return files_digest(path.parent, [file], None, cache)
    files = once(walk(path).files)[0]
    if DATASETS[kind].reads_images:
        return files_digest(path, files, lambda name: _is_read(path, name), cache)
    return files_digest(path, files, None, cache)


def _is_read(folder: Path, name: str) -> bool:
    """Return whether a file is read as an image, by its suffix or, without one, by its content."""
    if has_image_suffix(name) or not may_be_image(name):
        return has_image_suffix(name)
    try:
        with open(folder / name, "rb") as file:
            return looks_like_image(file.read(HEAD_BYTES))
    except OSError:
        return True
