"""vaepipe: how far a variational autoencoder can be fooled, measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vaepipe.compute.rounding import set_matrix_rounding

if TYPE_CHECKING:
    from vaepipe.tools.audit_report import Report

__version__ = "0.1.0"


def audit(*arguments: Any, **options: Any) -> Report:
    """Attack a model and return what was found: `vaepipe.tools.audit.audit`, which says what it takes."""
    from vaepipe.tools.audit import audit  # PyTorch and pandas, only when they are needed

    return audit(*arguments, **options)


set_matrix_rounding()  # before PyTorch multiplies a matrix
