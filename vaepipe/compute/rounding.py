"""How matrix products round: the same for a row wherever it stands in a matrix."""

from __future__ import annotations

import os

MKL_MODE = "AVX2,STRICT"
"""Intel's MKL otherwise rounds a row of a matrix differently at different positions."""


def set_matrix_rounding() -> None:
    """Set `MKL_CBWR`, unless the user has set it. MKL reads the variable at its first product.

    `vaepipe/__init__.py` calls this function, so every stage and every user of the library gets the same
    rounding.
    """
    os.environ.setdefault("MKL_CBWR", MKL_MODE)
