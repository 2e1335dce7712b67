"""Purifiers that are models: ``zoo:NAME``, or a file of weights in a study's folder ``results/models``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vaepipe.storage.code_digest import PACKAGE

ZOO = "zoo:"


def purifying_models(purifiers: Iterable[str]) -> dict[str, Path]:
    """Return name → file of weights of the purifiers that are models."""
    found = {}
    for name in purifiers:
        if name.startswith(ZOO):
            found[name] = PACKAGE / "zoo" / f"{name.removeprefix(ZOO)}.safetensors"
        elif name.endswith(".safetensors"):
            found[name] = Path(name)
    return found
