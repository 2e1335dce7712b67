"""Row-wise products and norms of vectors (B, n)."""

from __future__ import annotations

import torch
from torch import Tensor


def dot(a: Tensor, b: Tensor) -> Tensor:
    """(B,) products, in the precision of the arguments."""
    return torch.linalg.vecdot(a, b)


def dot_float64(a: Tensor, b: Tensor) -> Tensor:
    """(B,) products, in float64."""
    return (a.double() * b).sum(1)


def norm(v: Tensor) -> Tensor:
    """(B,) 2-norms, in the precision of the argument."""
    return torch.linalg.vector_norm(v, dim=-1)
