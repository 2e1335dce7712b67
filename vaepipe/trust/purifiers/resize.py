"""Half of the size and back, bilinear, with an anti-aliasing filter on the way down."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from vaepipe.trust.purifier import Purifier, before_model


def resize(model: Any, x: Tensor) -> Tensor:
    """Return images that went through half of their height and width."""
    size = [max(1, side // 2) for side in x.shape[2:]]
    half = F.interpolate(x, size, mode="bilinear", antialias=True)
    return F.interpolate(half, list(x.shape[2:]), mode="bilinear")


PURIFIER = Purifier("resize", before_model(resize))
