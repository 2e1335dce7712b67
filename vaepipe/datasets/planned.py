"""Data sets of the study that have a place in the registry, but no code to prepare them yet."""

from __future__ import annotations

from pathlib import Path

from vaepipe.datasets import DATASETS
from vaepipe.datasets.part import Part
from vaepipe.store import DataError


def load(name: str, path: Path | None, downloads: Path) -> dict[str, Part]:
    """Refuse, and say which data sets do work.

    Raises:
        DataError: always.
    """
    ready = ", ".join(other for other, info in DATASETS.items() if info.module != "planned")
    raise DataError(f"{name}: planned, but preparing it is not implemented in this version; data sets that work: {ready}")
