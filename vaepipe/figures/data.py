"""What a figure is drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from vaepipe.analysis.trials import of_losses
from vaepipe.attacks.loss import find_loss
from vaepipe.study.cells import Cell

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class CellArrays(NamedTuple):
    """The arrays of one model: name → array, and the attributes of the file that they are from."""

    cell: Cell
    arrays: dict[str, np.ndarray]
    attributes: Mapping[str, str] = MappingProxyType({})


@dataclass
class Data:
    """The tables of the study that a figure reads, the arrays of a few models, and what a row of a data set
    is called.

    Attributes:
        models, images, dimensions, attacks, ball, robustness: tables of `vaepipe.stages.collect`; None
            where a figure does not read them.
        arrays: of the models that a figure shows in pictures.
        things: data set → plural of what its rows are, "images" or "points".
        caveats: data set → why its models are not correct, where they reproduce published code.
    """

    models: pd.DataFrame | None = None
    images: pd.DataFrame | None = None
    attacks: pd.DataFrame | None = None
    ball: pd.DataFrame | None = None
    robustness: pd.DataFrame | None = None
    dimensions: pd.DataFrame | None = None
    arrays: list[CellArrays] = field(default_factory=list)
    things: Mapping[str, str] = field(default_factory=dict)
    caveats: Mapping[str, str] = field(default_factory=dict)

    def table(self, name: str) -> pd.DataFrame:
        """Return a table that the figure needs.

        Raises:
            LookupError: the figure was not given it.
        """
        frame = getattr(self, name)
        if frame is None:
            raise LookupError(f"no table {name}: the registry of figures must name it for this figure")
        return frame

    @property
    def targeted_attacks(self) -> pd.DataFrame:
        """The trials of attacks whose loss has a target."""
        return of_losses(self.table("attacks"), lambda loss: find_loss(loss).has_target)

    def rows_called(self, dataset: str) -> str:
        """Return the plural of what a row of a data set is."""
        return self.things.get(dataset, "images")
