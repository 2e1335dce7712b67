"""Weights of models as safetensors, with a digest in their metadata."""

from __future__ import annotations

from pathlib import Path

from vaepipe.storage import checksums as integrity
from vaepipe.storage.atomic import atomic
from vaepipe.storage.errors import DataError


def write_weights(path: str | Path, tensors: dict, meta: dict[str, str]) -> None:
    """Write tensors (moved to the CPU) as safetensors, with text metadata."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    meta = {**meta, "digest": integrity.tensors_digest(tensors, meta)}
    with atomic(path) as temporary:
        temporary.write_bytes(integrity.in_order(save(tensors, meta)))


def read_weights(path: str | Path) -> tuple[dict, dict[str, str]]:
    """(tensors on the CPU, metadata) of a safetensors file.

    Raises:
        DataError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            tensors, meta = {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        reason = "no such file" if not Path(path).exists() else "not a readable safetensors file; delete it to have it made again"
        raise DataError(f"{path}: {reason}") from error
    digest = meta.pop("digest", None)
    ours = digest is not None or meta.keys() & {"spec", "history"}  # weights of others have none of these
    if ours and digest != integrity.tensors_digest(tensors, meta):
        raise DataError(f"{path}: damaged, its digest differs; delete it to have it made again")
    return tensors, meta
