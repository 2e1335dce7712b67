"""The weights of several snapshots of a training in one file, as tensors ``snapshot.<step>.<name>``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

PREFIX = "snapshot"


def snapshot_tensors(snapshots: Mapping[int, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors of all snapshots by the names that they have in a file."""
    return {
        f"{PREFIX}.{step}.{name}": tensor
        for step, weights in snapshots.items()
        for name, tensor in weights.items()
    }


def snapshot_steps(names: Iterable[str]) -> list[int]:
    """Return the numbers of steps of the snapshots among the names of a file's tensors, increasing."""
    return sorted({int(name.split(".")[1]) for name in names if name.startswith(f"{PREFIX}.")})


def of_snapshot(tensors: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
    """Return the weights after ``step`` steps; empty if the tensors hold no such snapshot."""
    start = f"{PREFIX}.{step}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
