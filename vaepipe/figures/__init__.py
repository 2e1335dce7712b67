"""Figures of a study: `draw` returns one of them in a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(name: str, tables: str | Path = "results/tables", **options: Any) -> Figure:
    """Draw a figure of a study from its files.

    Args:
        name: The name of the figure, such as "adversarial_loss" or "montage/digits" (docs/figures.md).
        tables: The folder of the study's tables. If ``config.json`` lies beside this folder, its section
            ``plot`` holds. Figures with pictures need it to find their arrays.
        options: Keys of the section ``plot``, such as ``width="column"``.

    Returns:
        A matplotlib figure, whose ``caption.plain()`` is its caption and whose ``rows`` are its numbers.

    Raises:
        vaepipe.storage.errors.DataError: There is no such figure, or a file is missing or damaged.
    """
    from vaepipe.tools.notebook import figure

    return figure(name, Path(tables), options)
