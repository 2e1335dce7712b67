"""The scale in which models see images."""

from __future__ import annotations

from torch import Tensor, uint8


def to_unit_interval(x: Tensor) -> Tensor:
    """Return uint8 images in [0,255] as float32 in [0,1], and points, which are float32, unchanged."""
    return x.float().div_(255) if x.dtype == uint8 else x
