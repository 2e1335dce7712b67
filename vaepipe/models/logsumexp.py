"""exp and logsumexp that stay fast on CPUs where exp underflows."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def exp_in_place(v: Tensor) -> Tensor:
    """exp(v), written to ``v``; 0 where the result is below eps³.

    Beside a largest term of 1 such terms change no sum. Where exp underflows, vector libraries of CPUs leave
    their fast path, and denormal numbers slow down what follows.
    """
    least = 3 * math.log(torch.finfo(v.dtype).eps)
    return v.clamp_(min=least).exp_().sub_(math.exp(least))


def logsumexp(v: Tensor) -> Tensor:
    """`torch.logsumexp` over the last axis, by `exp_in_place`."""
    largest = v.amax(-1, keepdim=True)
    return exp_in_place(v - largest).sum(-1).log_().add_(largest[..., 0])
