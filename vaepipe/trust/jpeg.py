"""JPEG by Pillow."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaepipe.storage.errors import DataError


def compress(x: Tensor, quality: int) -> Tensor:
    """Return images (B, C, H, W) in [0,1] after JPEG of this quality (1 to 95), rounded to bytes before.

    Raises:
        DataError: images with other than one or three channels.
    """
    if x.shape[1] not in (1, 3):
        raise DataError(f"checks.purifiers: jpeg-{quality} needs 1 or 3 channels; images have {x.shape[1]}")
    pixels = (x.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1).cpu().numpy()
    compressed = np.stack(
        [_through_file(image.squeeze(-1) if x.shape[1] == 1 else image, quality) for image in pixels]
    )
    return torch.from_numpy(compressed).view(*pixels.shape).movedim(-1, 1).to(x) / 255


def _through_file(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    with Image.open(file) as compressed:
        return np.asarray(compressed)
