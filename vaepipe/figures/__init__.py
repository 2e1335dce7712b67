"""Figures of a study: `draw` returns one of them in a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(name: str, tables: str | Path = "results/tables", **options: Any) -> Figure:
    """Return a figure of a study, drawn from its files.

    Args:
        name: such as "adversarial_loss" or "montage/digits"; see docs/figures.md.
        tables: the study's folder of tables. Where results/config.json lies beside it, its section ``plot``
            holds, and figures with pictures find their arrays.
        options: keys of that section, such as ``width="column"``.

    Raises:
        vaepipe.storage.errors.DataError: there is no such figure, or a file is missing or damaged.
    """
    from vaepipe.tools.notebook import figure

    return figure(name, Path(tables), options)
