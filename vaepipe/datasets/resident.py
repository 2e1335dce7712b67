"""A split in memory for training: stored as bytes, or as bits if images are black and white; read as
floats."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaepipe.storage.h5 import open_h5

BLOCK_BYTES = 2**26
"""Bytes read at once."""


class Resident:
    """Images or points; ``resident[index]`` gives floats (B, …), images in [0,1].

    Black-and-white images take one bit per pixel: all of dSprites takes 0.4 GB.

    Args:
        x: images (N, C, H, W) uint8 in [0,255], or points (N, D) float32.
    """

    def __init__(self, x: Tensor):
        self.shape, self.packed = tuple(x.shape[1:]), _black_and_white(x)
        self.rows = _pack(x) if self.packed else x

    @classmethod
    def read(cls, path: str | Path, split: str, limit: int | None = None) -> Resident:
        """Return the first ``limit`` rows of a split of a prepared data set, packed while they are read."""
        with open_h5(path, "data") as file:
            x = file[split]["x"]
            n = min(len(x), limit or len(x))
            step = max(1, BLOCK_BYTES // max(1, x[0].nbytes))
            resident, parts = cls(torch.from_numpy(x[: min(step, n)])), []
            for start in range(step, n, step) if resident.packed else ():
                block = torch.from_numpy(x[start : min(start + step, n)])
                if not _black_and_white(block):
                    resident.packed = False
                    break
                parts.append(_pack(block))
            resident.rows = torch.cat([resident.rows, *parts]) if resident.packed else torch.from_numpy(x[:n])
        return resident

    def to(self, device: torch.device) -> Resident:
        """Return a copy on another device."""
        moved = copy.copy(self)
        moved.rows = self.rows.to(device)
        return moved

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Tensor:
        rows = self.rows[index]
        if self.packed:
            bits = rows[..., None] >> torch.arange(8, device=rows.device, dtype=torch.uint8) & 1
            return bits.flatten(1).float().unflatten(1, self.shape)
        return rows.float().div_(255) if rows.dtype == torch.uint8 else rows


def _black_and_white(x: Tensor) -> bool:
    """Return whether images are black and white and can be packed into whole bytes."""
    return x.dtype == torch.uint8 and x[0].numel() % 8 == 0 and bool(((x == 0) | (x == 255)).all())


def _pack(x: Tensor) -> Tensor:
    """Return (N, pixels / 8) bytes of eight pixels each, which are 0 or 255."""
    places = 1 << torch.arange(8, dtype=torch.uint8)
    return ((x.flatten(1) & 1).unflatten(1, (-1, 8)) * places).sum(-1, dtype=torch.uint8)
