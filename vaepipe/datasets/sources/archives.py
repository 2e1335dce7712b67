"""Image files in a .zip or a .tar, read in place: nothing is extracted."""

from __future__ import annotations

import stat
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaepipe.datasets.sources.names import plain_name
from vaepipe.storage.errors import DataError
from vaepipe.storage.walk import HIDDEN, is_hidden

MAX_FILE_BYTES = 2**28
"""Larger files in an archive are refused as bombs."""
DAMAGED = (
    OSError,
    EOFError,
    KeyError,
    IndexError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    OverflowError,
)
"""What zipfile, tarfile and their decompressors raise on archives that are cut short or of another format."""
REPEATED = "second file of the same name in the archive"


@dataclass
class Archive:
    """The members of an archive.

    Attributes:
        read: (member, number of bytes or -1 for all) → bytes.
        members: name with slashes → member.
        left_out: (name, reason).
    """

    read: Callable[[Any, int], bytes]
    members: dict[str, Any]
    left_out: list[tuple[str, str]]


def open_archive(path: Path) -> Archive:
    """Open a .zip or an uncompressed .tar.

    Raises:
        DataError: the archive is damaged, or contains links, bombs or names that lead out of it.
    """
    try:
        return _open_zip(path) if zipfile.is_zipfile(path) else _open_tar(path)
    except DataError:
        raise
    except DAMAGED as error:
        kinds = "a folder nor a .zip nor an uncompressed .tar of images"
        raise DataError(f"{path}: damaged, or neither {kinds}") from error


def _open_zip(path: Path) -> Archive:
    archive = zipfile.ZipFile(path)  # has a lock of its own for threads

    def read(info: zipfile.ZipInfo, count: int) -> bytes:
        with archive.open(info) as file:
            return file.read(count)

    listed = (
        (info.filename, info, stat.S_ISLNK(info.external_attr >> 16), info.file_size)
        for info in archive.infolist()
        if not info.filename.endswith(("/", "\\"))
    )
    return Archive(read, *_members(path, listed))


def _open_tar(path: Path) -> Archive:
    archive, lock = tarfile.open(path, "r:"), threading.Lock()  # noqa: SIM115  open as long as the tree is
    listed = ((info.name, info, not info.isfile(), info.size) for info in archive if not info.isdir())
    members, left_out = _members(path, listed)
    with open(path, "rb") as end:  # tarfile mistakes a header that is cut short for the end
        end.seek(archive.offset)
        if end.read(512) != bytes(512):
            raise EOFError("no end mark")

    def read(info: tarfile.TarInfo, count: int) -> bytes:
        with lock:
            file = archive.extractfile(info)
            data = file.read(count) if file else b""
        wanted = info.size if count < 0 else min(count, info.size)
        if len(data) < wanted:
            raise EOFError(f"{len(data)} of {wanted} bytes")
        return data

    return Archive(read, members, left_out)


def _members(
    path: Path, listed: Iterator[tuple[str, Any, bool, int]]
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return name → member, and (name, reason) of those that are left out. The last of a name counts."""
    members: dict[str, Any] = {}
    left_out: list[tuple[str, str]] = []
    for raw, info, is_link, size in listed:
        name = plain_name(raw)
        if name is None:
            raise DataError(f"{path}: refused, its file {raw!r} leads out of the archive")
        if is_link:
            raise DataError(f"{path}: refused, {name!r} is a link or a device, not a file")
        if size > MAX_FILE_BYTES:
            raise DataError(f"{path}: refused, {name!r} is {size} bytes long, more than {MAX_FILE_BYTES}")
        if is_hidden(name):
            left_out.append((name, HIDDEN))
            continue
        if name in members:
            left_out.append((name, REPEATED))
        members[name] = info
    return members, left_out
