"""Small handwritten digits. Source: UCI optical recognition of handwritten digits, in scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from vaepipe.datasets.part import Part, hold_out


def load(name: str, path: Path | None, downloads: Path) -> dict[str, Part]:
    """Return 1,797 images (N,1,8,8), of which 360 are held out. The label is the digit.

    The 17 grey levels are spread over 0..255.
    """
    digits = load_digits()
    x = np.round(digits.images * (255 / 16)).astype(np.uint8)
    return hold_out(Part(x[:, None], digits.target.astype(np.int64)), 360)
