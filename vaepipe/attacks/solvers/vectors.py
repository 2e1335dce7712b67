"""Row-wise products and norms of vectors (B, n), and their padding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ALIGNMENT = 16
"""Rows are zero-padded to a multiple of this many entries, 64 bytes: libraries then round all rows alike."""


def dot(a: Tensor, b: Tensor) -> Tensor:
    """(B,) products, in the precision of the arguments."""
    return torch.linalg.vecdot(a, b)


def dot_float64(a: Tensor, b: Tensor) -> Tensor:
    """(B,) products, in float64."""
    return (a.double() * b).sum(1)


def norm(v: Tensor) -> Tensor:
    """(B,) 2-norms, in the precision of the argument."""
    return torch.linalg.vector_norm(v, dim=-1)


def padded(t: Tensor, *pad: int) -> Tensor:
    """``t`` with zeros around it, as `torch.nn.functional.pad` counts them; ``t`` itself where all are 0."""
    return F.pad(t, pad) if any(pad) else t
