"""Image files in a folder, a .zip or a .tar, read in place: nothing is extracted. Pillow decodes them."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vaepipe.datasets.part import LazyImages
from vaepipe.storage.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
MAX_FILE_BYTES = 2**28
"""Larger files in an archive are refused as bombs."""
MAX_PIXELS = 2**27
"""Larger images are refused as bombs."""
DAMAGED = (
    OSError,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
)
"""What zipfile, tarfile and their decompressors raise on archives that are cut short or of another format."""
UNREADABLE = (
    UnidentifiedImageError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises on images that are cut short or of another format."""


class ImageTree:
    """The image files below a folder or in an archive, in the order of their ``names``.

    Raises:
        DataError: there are none, the archive is damaged, or it contains links, bombs or names that lead out
            of it.
    """

    def __init__(self, path: Path):
        self.path = path
        self._read: Callable[[Any], bytes]
        members: dict[str, Any]
        if path.is_dir():
            files = [Path(top, file) for top, _, files in os.walk(path, followlinks=True) for file in files]
            self._read = Path.read_bytes
            members = {file.relative_to(path).as_posix(): file for file in files}
        elif path.is_file():
            try:
                self._read, members = _open_zip(path) if zipfile.is_zipfile(path) else _open_tar(path)
            except DAMAGED as error:
                kinds = "a folder nor a .zip nor an uncompressed .tar of images"
                raise DataError(f"{path}: damaged, or neither {kinds}") from error
        else:
            raise DataError(f"{path}: no such file or folder")
        self._members = {name: members[name] for name in sorted(members) if _is_image(name)}
        self.names = list(self._members)
        if not self.names:
            raise DataError(f"{path}: no images in it; known are {', '.join(SUFFIXES)}")

    def read(self, name: str) -> bytes:
        """Return the bytes of one file."""
        try:
            return self._read(self._members[name])
        except DAMAGED as error:
            raise DataError(
                f"{self.path}/{name}: damaged ({_one_line(error)}); fetch or unpack it again"
            ) from error

    def images(self, names: list[str], channels: int, crop: int | None, size: int | None) -> LazyImages:
        """Return images that are read and decoded on demand. Without ``size`` all must be as large as the
        first.

        Args:
            names: some of the ``names`` of this tree.
            channels, crop, size: see `decode`.
        """
        first = self.image(names[0], channels, crop, size).shape

        def read(rows: np.ndarray) -> np.ndarray:
            x = np.empty((len(rows), *first), np.uint8)
            for i, row in enumerate(rows):
                image = self.image(names[row], channels, crop, size)
                if image.shape != first:
                    size_here, size_of_first = (
                        f"{width}×{height}" for _, height, width in (image.shape, first)
                    )
                    problem = f"{size_here}, but the first image has {size_of_first}; say which size"
                    raise DataError(f"{self.path}/{names[row]}: {problem}")
                x[i] = image
            return x

        return LazyImages(read, first, np.arange(len(names)))

    def image(self, name: str, channels: int, crop: int | None, size: int | None) -> np.ndarray:
        """Return one image (C,H,W) uint8.

        Raises:
            DataError: names the file that is not a readable image.
        """
        data = self.read(name)
        try:
            return decode(data, channels, crop, size)
        except UNREADABLE as error:
            raise DataError(
                f"{self.path}/{name}: not a readable image ({_one_line(error)}); repair or remove it"
            ) from error


def decode(data: bytes, channels: int, crop: int | None, size: int | None) -> np.ndarray:
    """Return an image file as (C,H,W) uint8: turned as its EXIF says, transparency on white, 16 bits
    reduced to 8.

    Args:
        channels: 1, grey (Rec. 601), or 3.
        crop: side in pixels of the square that is cut from the middle; None: the largest square if there is a
            ``size``.
        size: side in pixels to which the square is scaled, bilinear with anti-aliasing; None: it is not
            scaled.

    Raises:
        ValueError: the image is too large, or smaller than the crop.
    """
    with Image.open(io.BytesIO(data)) as file:
        if file.width * file.height > MAX_PIXELS:
            raise ValueError(f"{file.width}×{file.height} pixels, more than {MAX_PIXELS}")
        mode = "L" if channels == 1 else "RGB"
        if size and not crop:
            file.draft(mode, (2 * size, 2 * size))  # JPEG: decode at 1/2, 1/4 … of the size
        image = _eight_bits(ImageOps.exif_transpose(file)).convert(mode)
        side = crop or (min(image.size) if size else None)
        if side and side > min(image.size):
            raise ValueError(f"{image.width}×{image.height}, smaller than the crop of {side}")
        if side:  # cut before scaling, which would mix in pixels from outside the crop
            left, top = (image.width - side) // 2, (image.height - side) // 2
            image = image.crop((left, top, left + side, top + side))
        if size:
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        x = np.asarray(image)
    return x[None] if x.ndim == 2 else x.transpose(2, 0, 1)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return an image with 8 bits per channel and without transparency."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"pixels from {values.min()} to {values.max()}, expected 0 to 65535")
        return Image.fromarray(np.round(values / 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("pixels of real numbers; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image


# --- archives


def _open_zip(path: Path) -> tuple[Callable[[Any], bytes], dict[str, Any]]:
    """Return (function that reads a member, name → member)."""
    archive = zipfile.ZipFile(path)  # has a lock of its own for threads
    members = {}
    for info in archive.infolist():
        if info.is_dir():
            continue
        _check_member(path, info.filename, stat.S_ISLNK(info.external_attr >> 16), info.file_size)
        members[info.filename] = info
    return archive.read, members


def _open_tar(path: Path) -> tuple[Callable[[Any], bytes], dict[str, Any]]:
    """Return (function that reads a member, name → member)."""
    archive, lock = tarfile.open(path, "r:"), threading.Lock()  # noqa: SIM115  open as long as the tree is
    members = {}
    for info in archive:
        if info.isdir():
            continue
        _check_member(path, info.name, not info.isfile(), info.size)
        members[info.name] = info
    with open(path, "rb") as file:  # tarfile mistakes a header that is cut short for the end
        file.seek(archive.offset)
        if file.read(512) != bytes(512):
            raise EOFError("no end mark")

    def read(info: tarfile.TarInfo) -> bytes:
        with lock:
            file = archive.extractfile(info)
            data = file.read() if file else b""
        if len(data) < info.size:
            raise EOFError(f"{len(data)} of {info.size} bytes")
        return data

    return read, members


def _check_member(path: Path, name: str, is_link: bool, size: int) -> None:
    """Refuse names that lead out of the archive, links, devices and bombs."""
    name = name.replace("\\", "/")
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise DataError(f"{path}: refused, its file {name!r} leads out of the archive")
    if is_link:
        raise DataError(f"{path}: refused, {name!r} is a link or a device, not a file")
    if size > MAX_FILE_BYTES:
        raise DataError(f"{path}: refused, {name!r} is {size} bytes long, more than {MAX_FILE_BYTES}")


def _is_image(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return name.lower().endswith(SUFFIXES) and not any(
        part.startswith(".") or part == "__MACOSX" for part in parts
    )


def _one_line(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "of no known format"
    return " ".join(str(error).split())[:120] or type(error).__name__
