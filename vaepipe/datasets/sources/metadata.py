"""Metadata in image files: the orientation, and files without any metadata for decoders that stumble."""

from __future__ import annotations

from collections.abc import Iterator

from PIL.Image import Transpose

ORIENTATION = 0x0112
"""EXIF tag."""
TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""Orientation → the operation that undoes it."""
PNG_START, JPEG_START = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
PNG_NEEDED = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT")
PNG_SIGNIFICANT = b"sBIT"
WEBP_METADATA = (b"EXIF", b"XMP ", b"ICCP")
JPEG_SCAN, JPEG_ADOBE = 0xDA, 0xEE
"""Markers: after the first come the pixels; the second names the colour space."""


def significant_bits(data: bytes) -> int:
    """Return the number of significant bits of the first channel that a PNG file names, or 0."""
    return next(
        (chunk[8] for name, chunk in _png_chunks(data) if name == PNG_SIGNIFICANT and len(chunk) > 12), 0
    )


def without_metadata(data: bytes) -> bytes:
    """Return a JPEG, PNG or WebP file without its metadata, any other file as it is."""
    if data.startswith(JPEG_START):
        return _bare_jpeg(data)
    if data.startswith(PNG_START):
        return _bare_png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _bare_webp(data)
    return data


def _bare_jpeg(data: bytes) -> bytes:
    """Leave out the segments APP1 to APP15, but for Adobe's, and comments."""
    out, at = bytearray(data[:2]), 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != JPEG_SCAN:
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4])
        is_metadata = marker == 0xFE or (0xE1 <= marker <= 0xEF and marker != JPEG_ADOBE)
        if not is_metadata:
            out += data[at:end]
        at = end
    return bytes(out + data[at:])


def _bare_png(data: bytes) -> bytes:
    """Keep only the chunks that decide pixels."""
    return data[:8] + b"".join(chunk for name, chunk in _png_chunks(data) if name in PNG_NEEDED)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (name, whole chunk); nothing if it is no PNG file."""
    at = 8 if data.startswith(PNG_START) else len(data)
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        yield data[at + 4 : at + 8], data[at:end]
        at = end


def _bare_webp(data: bytes) -> bytes:
    out, at = bytearray(), 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + length + length % 2
        if data[at : at + 4] not in WEBP_METADATA:
            out += data[at:end]
        at = end
    return b"RIFF" + (len(out) + 4).to_bytes(4, "little") + b"WEBP" + bytes(out)
