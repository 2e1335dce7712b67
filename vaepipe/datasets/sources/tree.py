"""Image files in a folder, a .zip or a .tar, read in place: nothing is extracted. Pillow decodes them."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from vaepipe.datasets.part import LazyImages
from vaepipe.datasets.sources import archives
from vaepipe.datasets.sources.decoding import Notes, count_frames, decode
from vaepipe.datasets.sources.names import (
    HEAD_BYTES,
    SUFFIXES,
    has_image_suffix,
    looks_like_image,
    suffix,
)
from vaepipe.storage.errors import DataError
from vaepipe.storage.walk import FoundFile, once, walk

OTHER_SUFFIX = "not an image by its suffix"
OTHER_CONTENT = "no suffix, and not an image by its content"
SAME_FILE = "link to a file that is read already"

Frame = tuple[str, int]
"""The name of a file and the number of a frame in it."""


class ImageTree:
    """The image files below a folder or in an archive, in the order of their ``names``.

    A file is an image by its suffix, or, without a suffix, by its content. All other files are counted, see
    `left_out_lines`. Links are followed; `once` drops links to files that are there already.

    Raises:
        DataError: there are none, the archive is damaged, or it contains links, bombs or names that lead out
            of it.
    """

    def __init__(self, path: Path):
        self.path = path
        self._archive: archives.Archive | None = None
        self._files: dict[str, FoundFile] = {}
        self._left_out: Counter[tuple[str, str]] = Counter()
        if path.is_dir():
            found = walk(path)
            self._files = {file.name: file for file in found.files}
            left_out, names = found.left_out, list(self._files)
        elif path.is_file():
            self._archive = archives.open_archive(path)
            left_out, names = self._archive.left_out, sorted(self._archive.members)
        else:
            raise DataError(f"{path}: no such file or folder")
        for name, reason in left_out:
            self.leave_out([name], reason)
        self.names = [name for name in names if self._is_image(name)]
        if not self.names:
            rest = "".join(f"; left out: {line}" for line in self.left_out_lines())
            raise DataError(f"{path}: no images in it; known are {', '.join(SUFFIXES)}{rest}")

    def _is_image(self, name: str) -> bool:
        """Return whether a file is an image; if not, count it as left out."""
        if has_image_suffix(name):
            return True
        if suffix(name):
            self.leave_out([name], OTHER_SUFFIX)
            return False
        if looks_like_image(self.read(name, HEAD_BYTES)):
            return True
        self.leave_out([name], OTHER_CONTENT)
        return False

    def leave_out(self, names: Iterable[str], reason: str) -> None:
        """Count files that are not used."""
        self._left_out.update((suffix(name) or "without suffix", reason) for name in names)

    def left_out_lines(self) -> list[str]:
        """Return number, suffix and reason of the files that are not used."""
        return [f"{count} {kind} ({reason})" for (kind, reason), count in sorted(self._left_out.items())]

    def once(self, names: Sequence[str]) -> list[str]:
        """Return names without the links to real files that are among them already, which are counted."""
        if self._archive:
            return list(names)
        kept, repeated = once([self._files[name] for name in names])
        self.leave_out([file.name for file in repeated], SAME_FILE)
        return [file.name for file in kept]

    def read(self, name: str, count: int = -1) -> bytes:
        """Return the bytes of one file, or its first ``count`` bytes."""
        try:
            if self._archive:
                return self._archive.read(self._archive.members[name], count)
            with open(self.path / name, "rb") as file:
                return file.read(count)
        except archives.DAMAGED as error:
            raise DataError(
                f"{self.path}/{name}: damaged ({_one_line(error)}); fetch or unpack it again"
            ) from error

    def frames(self, name: str) -> list[Frame]:
        """Return all frames of a file; one if it cannot be read, so that reading it names the fault."""
        return [(name, i) for i in range(count_frames(self.read(name)))]

    def images(
        self,
        wanted: Sequence[str | Frame],
        channels: int,
        crop: int | None,
        size: int | None,
        maximum: int | None = None,
        notes: Notes | None = None,
    ) -> LazyImages:
        """Return images that are read and decoded on demand. Without ``size`` all must be as large as the
        first.

        Args:
            wanted: some of the ``names`` of this tree, or some of their `frames`.
            channels, crop, size, maximum, notes: see `decode`.
        """
        rows_of = [(item, 0) if isinstance(item, str) else item for item in wanted]
        first = self.image(*rows_of[0], channels, crop, size, maximum).shape

        def read(rows: np.ndarray) -> np.ndarray:
            x = np.empty((len(rows), *first), np.uint8)
            for i, row in enumerate(rows):
                name, frame = rows_of[row]
                image = self.image(name, frame, channels, crop, size, maximum, notes)
                if image.shape != first:
                    size_here, size_of_first = (
                        f"{width}×{height}" for _, height, width in (image.shape, first)
                    )
                    problem = f"{size_here}, but the first image has {size_of_first}; say which size"
                    raise DataError(f"{self.path}/{name}: {problem}")
                x[i] = image
            return x

        return LazyImages(read, (first[0], first[1], first[2]), np.arange(len(rows_of)))

    def image(
        self,
        name: str,
        frame: int,
        channels: int,
        crop: int | None,
        size: int | None,
        maximum: int | None = None,
        notes: Notes | None = None,
    ) -> np.ndarray:
        """Return one image (C,H,W) uint8.

        Raises:
            DataError: names the file that is not a readable image.
        """
        data = self.read(name)
        try:
            return decode(data, channels, crop, size, maximum, frame, notes, name)
        except Exception as error:  # a decoder may raise anything on a file that is damaged
            raise DataError(
                f"{self.path}/{name}: not a readable image ({_one_line(error)}); repair or remove it"
            ) from error


def _one_line(error: Exception) -> str:
    if type(error).__name__ == "UnidentifiedImageError":
        return "of no known format"
    if isinstance(error, zlib.error):
        return "compressed data are damaged"
    return " ".join(str(error).split())[:120] or type(error).__name__
