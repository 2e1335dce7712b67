"""Digests of files, folders and settings."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path


def spec_digest(spec: object) -> str:
    """Return 16 hexadecimal digits that identify anything that JSON can hold."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(path: str | Path) -> str:
    """Return 16 hexadecimal digits that identify the names, sizes and dates of all files below a folder."""
    digest = hashlib.sha256()
    for top, folders, files in os.walk(path, followlinks=True):
        folders.sort()
        relative = os.path.relpath(top, path)
        for file in sorted(files):
            with contextlib.suppress(OSError):  # deleted meanwhile, or a broken link
                status = os.stat(os.path.join(top, file))
                digest.update(os.fsencode(f"{relative}/{file}\0{status.st_size}\0{status.st_mtime_ns}\0"))
    return digest.hexdigest()[:16]
