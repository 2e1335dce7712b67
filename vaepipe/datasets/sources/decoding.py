"""From the bytes of an image file to pixels. Pillow decodes."""

from __future__ import annotations

import io
import threading
import warnings
from typing import Any

import numpy as np
from PIL import Image

from vaepipe.datasets.sources.metadata import ORIENTATION, TURNS, significant_bits, without_metadata

warnings.filterwarnings("ignore", module=r"PIL\.")  # about metadata; what matters is noted or raised

MAX_PIXELS = 2**27
"""Larger images are refused as bombs."""
DEEP, SHALLOW = 65535, 255
"""White in images of 16 and of 8 bits."""
ANIMATED = ("GIF", "TIFF", "PNG", "WEBP", "AVIF")
"""Formats whose further frames are images as the first. Other formats keep thumbnails or layers there."""
MAX_SAMPLE_VALUE, BITS_PER_SAMPLE = 281, 258
"""Tags of TIFF."""


class Notes:
    """What was seen while files were decoded, by several threads.

    Attributes:
        ranges: white of the type → (lowest, highest) value in all files.
        named_white: the largest white below 255 that files of 8 bits name, 0 if none does.
        frames: file with several frames → their number.
        without_metadata: files whose metadata cannot be read.
    """

    def __init__(self) -> None:
        self.ranges: dict[int, tuple[int, int]] = {}
        self.named_white = 0
        self.frames: dict[str, int] = {}
        self.without_metadata: set[str] = set()
        self._lock = threading.Lock()

    def add_range(self, white: int, low: float, high: float) -> None:
        with self._lock:
            old_low, old_high = self.ranges.get(white, (low, high))
            self.ranges[white] = (int(min(low, old_low)), int(max(high, old_high)))

    def add_named_white(self, white: int) -> None:
        with self._lock:
            self.named_white = max(self.named_white, white)

    def add_frames(self, name: str, count: int) -> None:
        with self._lock:
            self.frames[name] = count

    def add_unreadable_metadata(self, name: str) -> None:
        with self._lock:
            self.without_metadata.add(name)


def decode(
    data: bytes,
    channels: int,
    crop: int | None,
    size: int | None,
    maximum: int | None = None,
    frame: int = 0,
    notes: Notes | None = None,
    name: str = "",
) -> np.ndarray:
    """Return an image file as (C,H,W) uint8: turned as its EXIF says, transparency on white, 16 bits
    reduced to 8. Metadata that cannot be read are ignored.

    Args:
        channels: 1, grey (Rec. 601), or 3.
        crop: side in pixels of the square that is cut from the middle; None: the largest square if there is a
            ``size``.
        size: side in pixels to which the square is scaled, bilinear with anti-aliasing; None: it is not
            scaled.
        maximum: the value of white; None: that of the file's type.
        frame: number of the frame.
        notes, name: where to note what is seen in the file of this name.

    Raises:
        ValueError: the image is too large, or smaller than the crop. A decoder may raise anything else.
    """
    try:
        return _decode(data, channels, crop, size, maximum, frame, notes, name)
    except Exception:
        bare = without_metadata(data)
        if bare == data:
            raise
        x = _decode(bare, channels, crop, size, maximum, frame, notes, name)
        if notes:
            notes.add_unreadable_metadata(name)
        return x


def count_frames(data: bytes) -> int:
    """Return the number of frames of a file, 1 if it cannot be read."""
    try:
        with Image.open(io.BytesIO(data)) as file:
            return _frames(file)
    except Exception:  # reading the image names the fault
        return 1


def _frames(file: Image.Image) -> int:
    if file.format not in ANIMATED or not getattr(file, "is_animated", False):
        return 1
    return int(getattr(file, "n_frames", 1))


def _decode(
    data: bytes,
    channels: int,
    crop: int | None,
    size: int | None,
    maximum: int | None,
    frame: int,
    notes: Notes | None,
    name: str,
) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as file:
        if file.width * file.height > MAX_PIXELS:
            raise ValueError(f"{file.width}×{file.height} pixels, more than {MAX_PIXELS}")
        mode = "L" if channels == 1 else "RGB"
        if frame:
            file.seek(frame)
        elif size and not crop:
            file.draft(mode, (2 * size, 2 * size))  # JPEG: decode at 1/2, 1/4 … of the size
        if notes and not frame and (count := _frames(file)) > 1:
            notes.add_frames(name, count)
            file.seek(0)
        image = _turned(file, notes, name)
        if image.mode.startswith("I") or image.mode == "F":
            image = _from_deep(image, maximum or _named_white(file, data, DEEP), notes).convert(mode)
        else:
            if notes:
                notes.add_named_white(_named_white(file, data, SHALLOW) or 0)
            is_bits = image.mode == "1"
            image = _on_white(image).convert(mode)
            if not is_bits and (notes or maximum):
                image = _stretched(image, maximum, notes)
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


def _turned(file: Image.Image, notes: Notes | None, name: str) -> Image.Image:
    """Return the loaded image, turned as its EXIF says."""
    file.load()  # Pillow turns some TIFF files itself and then forgets the tag
    try:
        turn = TURNS.get(file.getexif().get(ORIENTATION, 1))
    except Exception:  # the pixels are readable, so the file is an image
        turn = None
        if notes:
            notes.add_unreadable_metadata(name)
    return file if turn is None else file.transpose(turn)


def _named_white(file: Image.Image, data: bytes, white: int) -> int | None:
    """Return the white that a file names, if it is that of a whole number of bits below that of its type.

    A TIFF file has the values as they are. A PNG file should have them scaled to its type, so its significant
    bits say nothing about one of 16 bits.
    """
    tags: Any = getattr(file, "tag_v2", {})
    value, bits = tags.get(MAX_SAMPLE_VALUE), tags.get(BITS_PER_SAMPLE, (16,))
    value = value[0] if isinstance(value, tuple) and value else value
    if not isinstance(value, int) and isinstance(bits, tuple) and len(set(bits)) == 1:
        value = 2 ** int(bits[0]) - 1
    if white == SHALLOW:
        value = 2 ** significant_bits(data) - 1 or value
    least = SHALLOW if white == DEEP else 0
    is_bits = isinstance(value, int) and value & (value + 1) == 0
    return value if is_bits and least < value < white else None


def _from_deep(image: Image.Image, white: int | None, notes: Notes | None) -> Image.Image:
    """Return an image of 16-bit values, or of real numbers if white is known, with 8 bits."""
    is_real = image.mode == "F"
    if is_real and white is None:
        raise ValueError("pixels of real numbers; set maximum, or save it with 8 or 16 bits")
    values = np.asarray(image).astype(np.float64 if is_real else np.int64)
    low, high, top = values.min(), values.max(), white or DEEP
    if not (low >= 0 and high <= top):  # also where it is not a number
        raise ValueError(f"pixels from {low} to {high}, expected 0 to {top}")
    if notes:
        notes.add_range(top, low, high)
    return Image.fromarray(np.round(values / (top / SHALLOW)).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    """Return an image without transparency."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _stretched(image: Image.Image, white: int | None, notes: Notes | None) -> Image.Image:
    """Return an 8-bit image scaled so that ``white`` becomes 255; note its range."""
    extrema: Any = image.getextrema()
    pairs = [extrema] if image.mode == "L" else extrema
    low, high = min(pair[0] for pair in pairs), max(pair[1] for pair in pairs)
    if white and high > white:
        raise ValueError(f"pixels from {low} to {high}, expected 0 to {white}")
    if white and white > SHALLOW:
        raise ValueError(f"pixels of 8 bits, but maximum is {white}; 16-bit colour is read with 8 bits, too")
    if notes:
        notes.add_range(white or SHALLOW, low, high)
    if white in (None, SHALLOW):
        return image
    table = [round(min(value, white) * SHALLOW / white) for value in range(256)]
    return image.point(table * len(pairs))
