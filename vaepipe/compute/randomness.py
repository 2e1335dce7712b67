"""Seeds and random streams: one for each purpose, epoch and row."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def seed_from(*parts: object) -> int:
    """Return a 63-bit seed computed from the `repr` of the parts. Different parts give different seeds."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "little") >> 1


def seeded_generator(device: torch.device | str, *parts: object) -> torch.Generator:
    """Return a `torch.Generator` on ``device``, seeded with `seed_from` of the parts."""
    import torch

    return torch.Generator(device).manual_seed(seed_from(*parts))
