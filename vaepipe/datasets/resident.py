"""A split in memory as its training reads it: batches of floats out of bytes, or of bits where images have
two values only."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor

from vaepipe.storage.h5 import open_h5

BLOCK = 2**26
"""Bytes read at once."""


class Resident:
    """Images or points; ``resident[index]`` gives floats (B, …), images in [0,1].

    Images of nothing but black and white take an eighth of their bytes: all of dSprites 0.4 GB.

    Args:
        x: images (N, C, H, W) uint8 in [0,255], or points (N, D) float32.
    """

    def __init__(self, x: Tensor):
        self.shape, self.packed = tuple(x.shape[1:]), _black_and_white(x)
        self.rows = _pack(x) if self.packed else x

    @classmethod
    def read(cls, path: str | Path, split: str, limit: int | None = None) -> Resident:
        """The first ``limit`` rows of a split of a file written by `vaepipe.stages.prepare`; packed, if at
        all, on the way in."""
        with open_h5(path, "data") as file:
            x = file[split]["x"]
            n = min(len(x), limit or len(x))
            step = max(1, BLOCK // max(1, x[0].nbytes))
            found, parts = cls(torch.from_numpy(x[: min(step, n)])), []
            for start in range(step, n, step) if found.packed else ():
                block = torch.from_numpy(x[start : min(start + step, n)])
                if not _black_and_white(block):
                    found.packed = False
                    break
                parts.append(_pack(block))
            found.rows = torch.cat([found.rows, *parts]) if found.packed else torch.from_numpy(x[:n])
        return found

    def to(self, device: torch.device) -> Resident:
        moved = copy.copy(self)
        moved.rows = self.rows.to(device)
        return moved

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index) -> Tensor:
        rows = self.rows[index]
        if self.packed:
            bits = rows[..., None] >> torch.arange(8, device=rows.device, dtype=torch.uint8) & 1
            return bits.flatten(1).float().unflatten(1, self.shape)
        return rows.float().div_(255) if rows.dtype == torch.uint8 else rows


def _black_and_white(x: Tensor) -> bool:
    return x.dtype == torch.uint8 and x[0].numel() % 8 == 0 and bool(((x == 0) | (x == 255)).all())


def _pack(x: Tensor) -> Tensor:
    """(N, pixels / 8): eight pixels of 0 or 255 as the bits of a byte."""
    places = 1 << torch.arange(8, dtype=torch.uint8)
    return ((x.flatten(1) & 1).unflatten(1, (-1, 8)) * places).sum(-1, dtype=torch.uint8)
