"""A mean of samples and how far to trust it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Estimate(NamedTuple):
    """A mean and its standard error, NaN of a single sample."""

    value: float
    standard_error: float


def estimate(samples: Tensor) -> Estimate:
    """Mean of ``samples`` (S,), independent draws, in their unit."""
    return Estimate(float(samples.mean()), float(samples.var(correction=0) / (len(samples) - 1)) ** 0.5)
