"""What the stages plot and claims read: columns of tables, and arrays of HDF5 files, checked against what is
needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from vaepipe.figures.data import CellArrays
from vaepipe.storage.errors import DataError
from vaepipe.storage.h5 import open_h5, read_text
from vaepipe.storage.tables import read_table
from vaepipe.study.cells import Cell

TABLES = ("models", "images", "dimensions", "attacks", "ball", "robustness")
FLAG = "masked"
"""Column that figures mark where a table has it."""
CELL = tuple(Cell.__dataclass_fields__)


def read_tables(
    needed: Mapping[str, tuple[str, ...]], paths: Mapping[str, Path | None], snapshots: bool = False
) -> dict[str, pd.DataFrame]:
    """Return the tables by name.

    Args:
        needed: table → columns beside those of the cell.
        paths: table → file, None where the command line names none.
        snapshots: whether rows of snapshots are read too, not only those at the end of trainings.

    Raises:
        DataError: a table is missing, is no table, or lacks a column.
    """
    frames = {}
    for table, columns in needed.items():
        path = paths[table]
        if path is None:
            raise DataError(f"--{table} is missing: this figure reads it")
        try:
            frame = read_table(path, (*CELL, *columns, FLAG))
        except FileNotFoundError as error:
            raise DataError(f"{path}: no such file") from error
        except ValueError as error:  # pyarrow's and pandas' errors for damaged files
            raise DataError(f"{path}: not a readable table; delete it to have it made again") from error
        if absent := [name for name in (*CELL, *columns) if name not in frame]:
            expected = f"expected the table {table} of vaepipe.stages.collect"
            raise DataError(f"{path}: lacks column {', '.join(absent)}; {expected}")
        frames[table] = frame if snapshots else frame[frame["snapshot"] == 0].reset_index(drop=True)
    return frames


def matched(option: str, paths: Sequence[str], cells: Sequence[Cell]) -> list[tuple[Cell, str]]:
    """Return (cell, file); an option must name one file for each cell.

    Raises:
        DataError: their numbers differ.
    """
    if len(paths) != len(cells):
        raise DataError(f"{option}: {len(paths)} files for {len(cells)} cells of the spec")
    return list(zip(cells, paths))


def read_arrays(file: h5py.File, axes: Mapping[str, str], pairs: int | None = None) -> dict[str, np.ndarray]:
    """Return arrays of an open file.

    Args:
        axes: name → its first axes, such as "L,P".
        pairs: how many of the axis P are read, from the first on; all if None.
    """
    arrays = {}
    for name, letters in axes.items():
        index = tuple(slice(pairs) if letter == "P" else slice(None) for letter in letters.split(","))
        arrays[name] = file[name][index]
    return arrays


def read_evaluation(cell: Cell, path: str, axes: Mapping[str, str]) -> CellArrays:
    """Return arrays of one evaluation; points with their samples must be those of a swiss roll.

    Raises:
        DataError: they are not points of three coordinates with two latent dimensions.
    """
    with open_h5(path, "evaluation") as file:
        arrays = read_arrays(file, axes)
    if "sample" in axes:
        x, sample = arrays["x"], arrays["sample"]
        if sample.shape[1:] != (2,) or x.shape[1:] != (3,):
            shapes = f"holds {x.shape} and {sample.shape}"
            raise DataError(f"{path}: needs points (K, 3) and samples (K, 2); {shapes}")
    return CellArrays(cell, arrays)


def read_history(cell: Cell, path: str, columns: Iterable[str]) -> CellArrays:
    """Return columns of the history of one training."""
    frame = read_table(Path(path), tuple(columns))
    return CellArrays(cell, {name: frame[name].to_numpy() for name in columns})


def attack_key(file: h5py.File) -> tuple[str, ...]:
    """Return what names the model and the loss of an attack: the cell and the loss, as texts."""
    return tuple(read_text(file, name) for name in (*CELL, "loss"))
