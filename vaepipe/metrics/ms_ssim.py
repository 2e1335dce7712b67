"""Structural similarity of images, for small ones too."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache

import torch
from torch import Tensor

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the scales, the finest first (Wang, Simoncelli and Bovik 2003)."""
WINDOW = 11
SIGMA = 1.5


def window_and_scales(side: int) -> tuple[int, int]:
    """Return the width of the window and the number of scales for images whose shorter side is ``side``.

    The window is 11 pixels wide, or the largest odd number that fits; of the five scales as many are used as
    leave the window room at the coarsest: 3 at 64 pixels, 2 at 28, 1 (plain SSIM) at 8.
    """
    window = min(WINDOW, side - 1 + side % 2)
    scales = 1
    while window == WINDOW and scales < len(WEIGHTS) and (window - 1) * 2**scales + 1 <= side:
        scales += 1
    return window, scales


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return the multi-scale structural similarity (B,) of images (B, C, H, W) in [0,1]; 1 for equal images.

    Values outside [0,1] count as the nearest bound; an image that is not finite gives NaN. With fewer than
    five scales (see `window_and_scales`) the weights of those used are divided by their sum.
    """
    window, scales = window_and_scales(min(a.shape[-2:]))
    weights = torch.tensor(WEIGHTS[:scales], device=a.device)
    bounded = (image.nan_to_num(0).clamp(0, 1) for image in (a, b))
    similarity = _multi_scale_ssim()(*bounded, window, SIGMA, reduction="none", scale_weights=weights)
    return torch.where((a + b).flatten(1).isfinite().all(1), similarity, torch.nan)


@cache
def _multi_scale_ssim():
    """Return the function of piq without importing the package, which loads torchvision in 2 s."""
    if "piq" in sys.modules:
        return importlib.import_module("piq.ms_ssim").multi_scale_ssim
    specification = importlib.util.find_spec("piq")
    assert specification is not None
    sys.modules["piq"] = importlib.util.module_from_spec(specification)  # not executed
    try:
        return importlib.import_module("piq.ms_ssim").multi_scale_ssim
    finally:
        del sys.modules["piq"]
