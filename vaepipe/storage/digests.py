"""Digests of files, of many files together, and of settings."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from vaepipe.storage.errors import DataError
from vaepipe.storage.walk import FoundFile


def spec_digest(spec: object) -> str:
    """Return 16 hexadecimal digits that identify anything that JSON can hold."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class KnownDigests:
    """Digests of files by place. A file whose size and date are as they were is not read again.

    Args:
        path: the JSON file that keeps them; None: they are forgotten.
    """

    def __init__(self, path: Path | None = None):
        self._path, self._known, self._has_new = path, _read(path), False

    def find(self, file: str | Path, read: Callable[[str], str] = file_digest) -> str:
        """Return the digest of a file by ``read``. If it cannot be read, return what it was last, or an empty
        text: the stage that reads the file says what is wrong."""
        place = os.path.abspath(file)
        last = self._known.get(place, ["", 0, 0])
        with contextlib.suppress(OSError, DataError):
            status = os.stat(place)
            stamp = [status.st_size, status.st_mtime_ns]
            if last[1:] != stamp:
                last = self._known[place] = [read(place), *stamp]
                self._has_new = True
        return str(last[0])

    def save(self) -> None:
        """Write the file whole or not at all; a folder that cannot be written goes without."""
        if self._path is None or not self._has_new:
            return
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(self._known), encoding="utf-8")
            temporary.replace(self._path)


def files_digest(
    folder: Path, files: list[FoundFile], is_read: Callable[[str], bool], known: KnownDigests
) -> str:
    """Return 16 hexadecimal digits that identify the names and contents of some files below a folder.

    Args:
        is_read: whether the file of a name counts.
    """
    digest = hashlib.sha256()
    for file in files:
        if is_read(file.name):
            digest.update(os.fsencode(f"{file.name}\0{known.find(folder / file.name)}\0"))
    known.save()
    return digest.hexdigest()[:16]


def _read(path: Path | None) -> dict[str, list]:
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(path.read_bytes()) if path else {}
        if isinstance(known, dict) and all(
            isinstance(entry, list) and len(entry) == 3 for entry in known.values()
        ):
            return known
    return {}
