"""LPIPS by piq, where its weights are there."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

WEIGHTS = ("vgg16-397923af.pth", "lpips_weights.pt")
"""Files in the folder ``checkpoints`` of PyTorch's cache, as torchvision and piq name them."""
SMALLEST = 16
"""Pixels of the shorter side: VGG-16 halves it four times before the last features."""


def lpips(a: Tensor, b: Tensor) -> Tensor:
    """Return LPIPS (B,) of images (B, C, H, W) in [0,1], one or three channels; 0 for equal images.

    It is NaN where the weights are not there, or the images are too small or have other channels.
    """
    distance = _distance(torch.hub.get_dir(), str(a.device))
    if distance is None or min(a.shape[-2:]) < SMALLEST or a.shape[1] not in (1, 3):
        return torch.full((len(a),), torch.nan, device=a.device)
    pictures = (image.float().clamp(0, 1).expand(-1, 3, -1, -1) for image in (a, b))
    return distance(*pictures)


@cache
def _distance(folder: str, device: str) -> nn.Module | None:
    """Return piq's module; None, with a line on the terminal, if the cache lacks a file of its weights."""
    checkpoints = Path(folder) / "checkpoints"
    if absent := [name for name in WEIGHTS if not (checkpoints / name).exists()]:
        print(f"LPIPS is left out: {checkpoints} has no {' and no '.join(absent)}", flush=True)
        return None
    from piq import LPIPS

    return LPIPS(reduction="none").to(device).requires_grad_(False)
