"""Digests of files, folders and settings."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from vaepipe.storage.walk import FoundFile, once, walk


def spec_digest(spec: object) -> str:
    """Return 16 hexadecimal digits that identify anything that JSON can hold."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(
    path: str | Path, is_read: Callable[[str], bool] | None = None, cache: Path | None = None
) -> str:
    """Return 16 hexadecimal digits that identify the names and contents of the files below a folder.

    Hidden files do not count, nor do dates. A real file that several links lead to counts once.

    Args:
        is_read: whether a name below the folder counts; None: all names do.
        cache: a JSON file of known digests. A file whose size and date are as they were is not read again.
    """
    return files_digest(Path(path), once(walk(path).files)[0], is_read, cache)


def files_digest(
    folder: Path,
    files: list[FoundFile],
    is_read: Callable[[str], bool] | None = None,
    cache: Path | None = None,
) -> str:
    """Return the digest of some files below a folder; arguments as `folder_digest`."""
    known = _read_cache(cache)
    seen: dict[str, str] = {}
    digest = hashlib.sha256()
    for file in files:
        if is_read and not is_read(file.name):
            continue
        location = os.path.join(os.path.abspath(folder), file.name)
        key = f"{location}\0{file.size}\0{file.date}"
        try:
            seen[key] = known.get(key) or file_digest(location)
        except OSError:  # deleted meanwhile, or not readable: the stage that reads it says so
            continue
        digest.update(os.fsencode(f"{file.name}\0{seen[key]}\0"))
    if cache and not seen.keys() <= known.keys():
        _write_cache(cache, known | seen)
    return digest.hexdigest()[:16]


def _read_cache(cache: Path | None) -> dict[str, str]:
    if cache is None:
        return {}
    try:
        known = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write_cache(cache: Path, known: dict[str, str]) -> None:
    """Write the cache whole or not at all; a folder that cannot be written goes without."""
    temporary = cache.with_name(f"{cache.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(known), encoding="utf-8")
        temporary.replace(cache)
