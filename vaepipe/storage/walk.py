"""The files below a folder, each real file once, whatever links there are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vaepipe.storage.errors import DataError

LITTER = {"thumbs.db", "desktop.ini", "__macosx", "@eadir"}
"""What file managers leave behind, in lower case. They also leave hidden files, such as .DS_Store."""

LOOP = "link that leads back to a folder above it"
BROKEN = "link to nothing"
SPECIAL = "neither a file nor a folder"
HIDDEN = "hidden"


@dataclass(frozen=True)
class FoundFile:
    """A file below a folder.

    Attributes:
        name: path relative to the folder, with slashes.
        identity: device and inode of the real file.
        is_link: whether the name leads through a link.
    """

    name: str
    identity: tuple[int, int]
    is_link: bool


@dataclass
class Walk:
    """The files below a folder, sorted by name, and the names that were left out with the reason."""

    files: list[FoundFile] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def is_hidden(name: str) -> bool:
    """Return whether a relative path is hidden, or what a file manager left behind."""
    return any(part.startswith(".") or part.lower() in LITTER for part in name.split("/"))


def walk(path: str | Path) -> Walk:
    """Return the files below a folder. Hidden files and links that lead nowhere or back are left out.

    A link to a folder is followed unless it leads back to a folder on its own way. Below a link, a further
    link is followed only to a folder that was not met yet, so that the walk ends. A file that several links
    lead to is still there under each name; see `once`.

    Raises:
        DataError: a folder cannot be listed.
    """
    found = Walk()
    root = os.fspath(path)
    met: set[tuple[int, int]] = set()
    links: list[tuple[str, str, tuple[tuple[int, int], ...]]] = []
    top = Path(root).resolve()
    above = tuple(_identity(os.stat(folder)) for folder in (*reversed(top.parents), top))
    _visit(found, root, "", above, met, links, False)
    while links:  # real folders first: a link below a link is followed only to a folder that was not met
        location, name, above = links.pop(0)
        _visit(found, location, name, above, met, links, True)
    found.files.sort(key=lambda file: file.name)
    found.left_out.sort()
    return found


def once(files: list[FoundFile]) -> tuple[list[FoundFile], list[FoundFile]]:
    """Return (each real file once, the links that repeat one of them). Hard links are files of their own."""
    real = {file.identity for file in files if not file.is_link}
    kept: list[FoundFile] = []
    repeated: list[FoundFile] = []
    for file in files:
        if not file.is_link:
            kept.append(file)
        elif file.identity in real:
            repeated.append(file)
        else:
            real.add(file.identity)
            kept.append(file)
    return kept, repeated


def _visit(
    found: Walk,
    location: str,
    name: str,
    above: tuple[tuple[int, int], ...],
    met: set[tuple[int, int]],
    links: list[tuple[str, str, tuple[tuple[int, int], ...]]],
    below_link: bool,
) -> None:
    """Add the files of one folder and of those below it; append its links to folders to ``links``."""
    met.add(above[-1])
    for entry in _entries(location):
        inner = f"{name}/{entry.name}" if name else entry.name
        if is_hidden(inner):
            found.left_out.append((inner, HIDDEN))
            continue
        try:
            status = entry.stat()
        except OSError:
            found.left_out.append((inner, BROKEN))
            continue
        identity, is_link = _identity(status), entry.is_symlink()
        if entry.is_file():
            file = FoundFile(inner, identity, below_link or is_link)
            found.files.append(file)
        elif not entry.is_dir():
            found.left_out.append((inner, SPECIAL))
        elif is_link and (identity in above or (below_link and identity in met)):
            found.left_out.append((inner, LOOP))
        elif is_link:
            links.append((entry.path, inner, (*above, identity)))
        else:
            _visit(found, entry.path, inner, (*above, identity), met, links, below_link)


def _entries(location: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(location) as entries:
            yield from sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{location}: cannot be listed ({error.strerror or error})") from error


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
