"""Small handwritten digits. Source: UCI optical recognition of handwritten digits, as shipped in
scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from vaepipe.datasets.part import Part, hold_out


def load(name: str, path: Path | None, downloads: Path) -> dict[str, Part]:
    """1,797 images (N,1,8,8), their 17 grey levels spread over 0..255; label = digit; 360 of them are held
    out."""
    digits = load_digits()
    x = np.round(digits.images * (255 / 16)).astype(np.uint8)
    return hold_out(Part(x[:, None], digits.target.astype(np.int64)), 360)
