"""What the name and the first bytes of a file say about its content."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from vaepipe.storage.walk import is_hidden

SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".jpx", ".bmp", ".dib", ".gif"),
    *(".tif", ".tiff", ".webp", ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".qoi", ".ico"),
)
"""Suffixes of image files, in lower case."""

HEAD_BYTES = 16
"""Bytes at the start of a file by which `looks_like_image` decides."""

STARTS = (
    re.compile(rb"\x89PNG\r\n\x1a\n", re.DOTALL),
    re.compile(rb"\xff\xd8\xff", re.DOTALL),
    re.compile(rb"GIF8[79]a", re.DOTALL),
    re.compile(rb"II\*\0|MM\0\*|II\+\0|MM\0\+", re.DOTALL),
    re.compile(rb"RIFF....WEBP", re.DOTALL),
    re.compile(rb"....ftyp(avif|avis)", re.DOTALL),
    re.compile(rb"\0\0\0\x0cjP  \r\n", re.DOTALL),
    re.compile(rb"qoif", re.DOTALL),
)
"""Starts of PNG, JPEG, GIF, TIFF, WebP, AVIF, JPEG 2000 and QOI files."""

DRIVE = re.compile(r"^[A-Za-z]:")


def plain_name(name: str) -> str | None:
    """Return the name of an archive's member with slashes and without ``.``, as it is used and checked; None
    if it leads out of the archive."""
    name = name.replace("\\", "/")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or DRIVE.match(name):
        return None
    return path.as_posix()


def suffix(name: str) -> str:
    """Return the suffix of a name in lower case; empty if it has none."""
    return PurePosixPath(name).suffix.lower()


def has_image_suffix(name: str) -> bool:
    return suffix(name) in SUFFIXES


def may_be_image(name: str) -> bool:
    """Return whether a file is an image by its name, or has no suffix, so that its content decides."""
    return not is_hidden(name) and (has_image_suffix(name) or not suffix(name))


def looks_like_image(head: bytes) -> bool:
    """Return whether the first `HEAD_BYTES` of a file are those of an image."""
    return any(start.match(head) for start in STARTS)
