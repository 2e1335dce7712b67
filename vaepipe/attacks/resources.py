"""Precision of an attack, and batches that fit the memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")

PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


def in_precision(model: Any, x: Tensor, target: Tensor, precision: str) -> tuple[Any, Tensor, Tensor]:
    """Return model and images in one of `PRECISIONS`; the model is copied if its weights have another."""
    dtype = PRECISIONS[precision]
    x, target = x.to(dtype), target.to(dtype)
    if isinstance(model, torch.nn.Module) and any(p.dtype != dtype for p in model.parameters()):
        model = copy.deepcopy(model).to(dtype)
    return model, x, target


def within_memory(attempt: Callable[[int], Result], batch_size: int) -> Result:
    """Return ``attempt(batch_size)``; if memory runs out, try again with half the size, down to one row."""
    while True:
        try:
            return attempt(batch_size)
        except torch.OutOfMemoryError:
            if batch_size == 1:
                raise
            batch_size //= 2
            print(f"out of memory: going on with {batch_size} rows at once", flush=True)
