"""3D Faces: renders of the Basel Face Model, as β-TCVAE uses them.

Source: Paysan et al. 2009; Chen et al. 2018.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import torch

from vaepipe.datasets.part import LazyImages, Part, hold_out_tenth
from vaepipe.storage.errors import DataError

FACTORS = {"identity": 50, "azimuth": 21, "elevation": 11, "lighting": 11}
SIZE = 64
HOW_TO_GET = (
    "they are not public: agree to the licence of the Basel Face Model (faces.dmi.unibas.ch), "
    "ask the authors of beta-TCVAE (github.com/rtqichen/beta-tcvae) for basel_face_renders.pth, "
    "and set datasets.{}.path to it"
)


def load(name: str, path: Path | None, downloads: Path) -> dict[str, Part]:
    """Return 127,050 images (N,1,64,64), the complete grid of four factors; 10,000 are held out.

    Args:
        path: ``basel_face_renders.pth``, one uint8 tensor; nothing else in it is opened.

    Raises:
        DataError: there is no such file, or something else in it.
    """
    if path is None or not path.is_file():
        raise DataError(f"{name}: {f'{path}: no such file; ' if path else ''}{HOW_TO_GET.format(name)}")
    try:
        x = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError):
        try:  # files of old versions of PyTorch cannot be mapped
            x = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
            raise DataError(f"{path}: damaged, or not basel_face_renders.pth") from error
    n = math.prod(FACTORS.values())
    if not isinstance(x, torch.Tensor) or x.dtype != torch.uint8 or x.numel() != n * SIZE * SIZE:
        content = f"{tuple(x.shape)} {x.dtype}" if isinstance(x, torch.Tensor) else type(x).__name__
        raise DataError(f"{path}: expected {n} images {SIZE}×{SIZE} in one uint8 tensor, found {content}")
    images = x.contiguous().view(n, 1, SIZE, SIZE).numpy()
    factors = np.indices(tuple(FACTORS.values())).reshape(len(FACTORS), -1).T
    part = Part(
        LazyImages(lambda rows: images[rows], (1, SIZE, SIZE), np.arange(n)),
        factors=factors,
        factor_names=tuple(FACTORS),
    )
    return hold_out_tenth(part)
