"""A tree of image files, as a folder, a .zip or a .tar, read where it is: nothing is extracted. Decoding with Pillow."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import threading
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vaepipe.datasets.part import LazyImages
from vaepipe.storage.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
LARGEST = 2**28
"""Bytes of one file in an archive; more is taken for a bomb."""
PIXELS = 2**27
"""Pixels of one image; more is taken for a bomb."""
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
"""What zipfile, tarfile and their decompressors raise on archives that are cut short or are something else."""
UNREADABLE = (
    UnidentifiedImageError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises on images that are cut short or are something else."""


class Tree:
    """The image files below a folder or in an archive, in the order of their names.

    Raises:
        DataError: there are none, the archive is damaged, or it has names that lead out of it, links or bombs.
    """

    def __init__(self, path: Path):
        self.path = path
        if path.is_dir():
            files = [Path(top, file) for top, _, files in os.walk(path, followlinks=True) for file in files]
            self._read, found = _read_file, {file.relative_to(path).as_posix(): file for file in files}
        elif path.is_file():
            try:
                self._read, found = _open_zip(path) if zipfile.is_zipfile(path) else _open_tar(path)
            except DAMAGED as error:
                raise DataError(
                    f"{path}: damaged, or neither a folder nor a .zip nor an uncompressed .tar of images"
                ) from error
        else:
            raise DataError(f"{path}: no such file or folder")
        self._members = {name: found[name] for name in sorted(found) if _is_image(name)}
        self.names = list(self._members)
        if not self.names:
            raise DataError(f"{path}: no images in it; known are {', '.join(SUFFIXES)}")

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        try:
            return self._read(self._members[name])
        except DAMAGED as error:
            raise DataError(
                f"{self.path}/{name}: damaged ({_words(error)}); fetch or unpack it again"
            ) from error

    def images(self, names: list[str], channels: int, crop: int | None, size: int | None) -> LazyImages:
        """The images of some of the names as `decode` gives them; where there is no ``size`` all must have the first one's."""
        first = self.image(names[0], channels, crop, size).shape

        def read(rows: np.ndarray) -> np.ndarray:
            x = np.empty((len(rows), *first), np.uint8)
            for i, row in enumerate(rows):
                image = self.image(names[row], channels, crop, size)
                if image.shape != first:
                    sizes = [f"{width}×{height}" for _, height, width in (image.shape, first)]
                    raise DataError(
                        f"{self.path}/{names[row]}: {sizes[0]}, but the first image has {sizes[1]}; say which size"
                    )
                x[i] = image
            return x

        return LazyImages(read, first, np.arange(len(names)))

    def image(self, name: str, channels: int, crop: int | None, size: int | None) -> np.ndarray:
        """One image (C,H,W) uint8.

        Raises:
            DataError: naming the file, which is not an image that can be read.
        """
        data = self.read(name)
        try:
            return decode(data, channels, crop, size)
        except UNREADABLE as error:
            raise DataError(
                f"{self.path}/{name}: not a readable image ({_words(error)}); repair or remove it"
            ) from error


def decode(data: bytes, channels: int, crop: int | None, size: int | None) -> np.ndarray:
    """An image file as (C,H,W) uint8: turned as its EXIF says, transparency on white, 16 bits cut down to 8.

    Args:
        channels: 1, grey (Rec. 601), or 3.
        crop: side in pixels of the square that is cut from the middle; None: where there is a ``size``, the largest square.
        size: side in pixels to which the square is scaled, bilinear with anti-aliasing; None leaves it as it is.
    """
    with Image.open(io.BytesIO(data)) as image:
        if image.width * image.height > PIXELS:
            raise ValueError(f"{image.width}×{image.height} pixels, more than {PIXELS}")
        mode = "L" if channels == 1 else "RGB"
        if size and not crop:
            image.draft(
                mode, (2 * size, 2 * size)
            )  # JPEG: decode at the half, quarter … that still has twice the size
        image = _eight_bits(ImageOps.exif_transpose(image)).convert(mode)
        side = crop or (min(image.size) if size else None)
        if side and side > min(image.size):
            raise ValueError(f"{image.width}×{image.height}, smaller than the crop of {side}")
        if side:  # cut first: scaling would mix in pixels from outside
            left, top = (image.width - side) // 2, (image.height - side) // 2
            image = image.crop((left, top, left + side, top + side))
        if size:
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        x = np.asarray(image)
    return x[None] if x.ndim == 2 else x.transpose(2, 0, 1)


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.int64)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError(f"pixels from {deep.min()} to {deep.max()}, expected 0 to 65535")
        return Image.fromarray(np.round(deep / 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("pixels of real numbers; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image


# --- where the files are


def _read_file(path: Path) -> bytes:
    return path.read_bytes()


def _open_zip(path: Path):
    archive = zipfile.ZipFile(path)  # reads in threads take turns inside
    members = {}
    for info in archive.infolist():
        if info.is_dir():
            continue
        _refuse(path, info.filename, stat.S_ISLNK(info.external_attr >> 16), info.file_size)
        members[info.filename] = info
    return archive.read, members


def _open_tar(path: Path):
    archive, lock = tarfile.open(path, "r:"), threading.Lock()  # noqa: SIM115  open as long as the tree is
    members = {}
    for info in archive:
        if info.isdir():
            continue
        _refuse(path, info.name, not info.isfile(), info.size)
        members[info.name] = info
    with open(path, "rb") as file:  # tarfile takes a header that is cut for the end
        file.seek(archive.offset)
        if file.read(512) != bytes(512):
            raise EOFError("no mark of its end")

    def read(info: tarfile.TarInfo) -> bytes:
        with lock:
            data = archive.extractfile(info).read()
        if len(data) < info.size:
            raise EOFError(f"{len(data)} of {info.size} bytes")
        return data

    return read, members


def _refuse(path: Path, name: str, link: bool, size: int) -> None:
    name = name.replace("\\", "/")
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise DataError(f"{path}: refused, its file {name!r} leads out of the archive")
    if link:
        raise DataError(f"{path}: refused, {name!r} is a link or a device, not a file")
    if size > LARGEST:
        raise DataError(f"{path}: refused, {name!r} is {size} bytes long, more than {LARGEST}")


def _is_image(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return name.lower().endswith(SUFFIXES) and not any(
        part.startswith(".") or part == "__MACOSX" for part in parts
    )


def _words(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "of no known format"
    return " ".join(str(error).split())[:120] or type(error).__name__
