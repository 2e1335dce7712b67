"""The description of a measured number: name, unit, axes and meaning, written once and used everywhere.

HDF5 descriptions, `columns.csv`, tables of the documentation and axis labels are made from these objects.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """One quantity that a stage writes."""

    name: str
    """Name of the HDF5 array or table column."""
    meaning: str
    """What the number is, in plain English."""
    unit: str = ""
    """For example "nats per image"; empty for numbers without a unit."""
    axes: str = ""
    """Axes of the HDF5 array, for example "L,P"."""
    label: str = ""
    """Short text for an axis of a figure."""

    @property
    def description(self) -> str:
        """Return the text for HDF5 attributes and `columns.csv`: the meaning, then the unit if there is
        one."""
        return f"{self.meaning}, {self.unit}" if self.unit else self.meaning
