"""Digests inside or beside files: damage on a disk or in transit is named and never read as a number.

- HDF5 files: a SHA-256 in the user block, 512 bytes before the HDF5 data that the format leaves to
  applications. It tells damage from other errors, and `vaepipe verify` checks it. HDF5's own checksums
  protect single reads, see `vaepipe.storage.h5`.
- Weights: a SHA-256 of tensors and metadata, in the metadata of the safetensors file.
- Tables, which other programs open too: SHA256SUMS beside them, in the format of `sha256sum -c`.
"""

from __future__ import annotations

import hashlib
import json
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING

from vaepipe.storage.digests import file_digest

if TYPE_CHECKING:
    from torch import Tensor

USER_BLOCK_BYTES = 512
USER_BLOCK_START = b"vaepipe sha256 "
HDF5_START = b"\x89HDF\r\n\x1a\n"
SUMS_FILE = "SHA256SUMS"
HEADER_ALIGNMENT = 8
"""Tensors in a safetensors file begin at a multiple of eight bytes."""


def write_h5_digest(path: str | Path) -> None:
    """Write the digest of a finished HDF5 file into its user block."""
    with open(path, "r+b") as file:
        block = _user_block(file)
        file.seek(0)
        file.write(block)


def matches_h5_digest(path: str | Path) -> bool:
    """Return whether an HDF5 file is as it was written. Files of other programs have no user block and are
    accepted."""
    with open(path, "rb") as file:
        start = file.read(USER_BLOCK_BYTES)
        return start.startswith(HDF5_START) or start == _user_block(file)


def _user_block(file: BufferedIOBase) -> bytes:
    """Return the user block that fits the rest of the file."""
    file.seek(USER_BLOCK_BYTES)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return (USER_BLOCK_START + digest.encode()).ljust(USER_BLOCK_BYTES, b"\n")


def sort_metadata(image: bytes) -> bytes:
    """Return the bytes of a safetensors file with sorted metadata. The library writes metadata in a random
    order."""
    length = int.from_bytes(image[:8], "little")
    header = json.loads(image[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text = text.ljust(-(-len(text) // HEADER_ALIGNMENT) * HEADER_ALIGNMENT)
    return len(text).to_bytes(8, "little") + text + image[8 + length :]


def tensors_digest(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    """Return the SHA-256 of names, types, shapes and bytes of tensors on the CPU, and of their metadata."""
    import torch

    kinds = [(name, str(tensor.dtype), list(tensor.shape)) for name, tensor in sorted(tensors.items())]
    digest = hashlib.sha256(json.dumps([kinds, sorted(metadata.items())]).encode())
    for _, tensor in sorted(tensors.items()):
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_sums(out: Path, paths: list[Path]) -> None:
    """Write SHA256SUMS of files in the same folder."""
    out.write_text("".join(f"{file_digest(path)}  {path.name}\n" for path in paths), encoding="utf-8")


def matches_sums(path: Path) -> bool:
    """Return whether a file agrees with SHA256SUMS beside it. Files that are not listed there are
    accepted."""
    try:
        lines = (path.parent / SUMS_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return True
    for line in lines:
        digest, _, name = line.partition("  ")
        if name == path.name:
            return digest == file_digest(path)
    return True
