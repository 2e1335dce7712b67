"""Digests inside or beside files, so that a bit that flipped on a disk or on the way is named and never read as a number.

Weights carry theirs in their metadata; tables, which others open too, in SHA256SUMS beside them, which `sha256sum -c` reads as
well. HDF5 files have checksums of their own, see `vaepipe.storage.h5`; a digest of the whole file, which tells damage from other
faults and which `vaepipe.tools.verify` asks, is in the user block, 512 bytes in front that HDF5 leaves to us.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

USER_BLOCK = 512
MAGIC = b"vaepipe sha256 "
HDF5 = b"\x89HDF\r\n\x1a\n"
SUMS = "SHA256SUMS"


def seal(path: str | Path) -> None:
    """Write the digest of a finished HDF5 file into its user block."""
    with open(path, "r+b") as file:
        block = _block(file)
        file.seek(0)
        file.write(block)


def sealed(path: str | Path) -> bool:
    """Whether an HDF5 file is as it was written. Files of others, which have no user block, are taken as they are."""
    with open(path, "rb") as file:
        head = file.read(USER_BLOCK)
        return head.startswith(HDF5) or head == _block(file)


def _block(file) -> bytes:
    """The user block that belongs to what follows it."""
    file.seek(USER_BLOCK)
    return (MAGIC + hashlib.file_digest(file, "sha256").hexdigest().encode()).ljust(USER_BLOCK, b"\n")


def in_order(image: bytes) -> bytes:
    """A safetensors file with its metadata sorted: the library writes them in another order each time."""
    length = int.from_bytes(image[:8], "little")
    header = json.loads(image[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text = text.ljust(-(-len(text) // 8) * 8)  # tensors begin at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text + image[8 + length :]


def tensors_digest(tensors: dict, meta: dict[str, str]) -> str:
    """Of names, kinds, shapes and bytes of tensors on the CPU, and of the text that goes with them."""
    import torch

    kinds = [(name, str(t.dtype), list(t.shape)) for name, t in sorted(tensors.items())]
    digest = hashlib.sha256(json.dumps([kinds, sorted(meta.items())]).encode())
    for _, t in sorted(tensors.items()):
        digest.update(t.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def write_sums(out: Path, paths: list[Path]) -> None:
    """SHA256SUMS of files that lie beside it."""
    out.write_text("".join(f"{_sha(path)}  {path.name}\n" for path in paths), encoding="utf-8")


def summed(path: Path) -> bool:
    """Whether a file is what SHA256SUMS beside it says; files that it does not name are taken as they are."""
    try:
        lines = (path.parent / SUMS).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return True
    said = dict(reversed(line.split("  ", 1)) for line in lines if "  " in line)
    return path.name not in said or said[path.name] == _sha(path)


def _sha(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
