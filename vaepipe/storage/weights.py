"""Weights of models: safetensors files with a digest in their metadata."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vaepipe.storage.atomic import atomic
from vaepipe.storage.checksums import sort_metadata, tensors_digest
from vaepipe.storage.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

OUR_KEYS = {"spec", "history"}
"""Metadata that only files of this package have, which must have a digest."""


def write_weights(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors (moved to the CPU) as safetensors, with metadata."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {**metadata, "digest": tensors_digest(tensors, metadata)}
    with atomic(path) as temporary:
        temporary.write_bytes(sort_metadata(save(tensors, metadata)))


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return (tensors on the CPU, metadata) of a safetensors file.

    Raises:
        DataError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    remedy = "delete it to have it made again"
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        is_there = Path(path).exists()
        reason = f"not a readable safetensors file; {remedy}" if is_there else "no such file"
        raise DataError(f"{path}: {reason}") from error
    digest = metadata.pop("digest", None)
    is_ours = digest is not None or metadata.keys() & OUR_KEYS
    if is_ours and digest != tensors_digest(tensors, metadata):
        raise DataError(f"{path}: damaged, its digest differs; {remedy}")
    return tensors, metadata
