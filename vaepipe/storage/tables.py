"""Tables: CSV and Parquet files."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from vaepipe.storage import checksums as integrity
from vaepipe.storage.atomic import atomic
from vaepipe.storage.errors import DataError


def write_table(path: str | Path, frame) -> None:
    """Write a data frame as .csv or .parquet."""
    with atomic(path) as temporary:
        if Path(path).suffix == ".csv":
            frame.to_csv(temporary, index=False)
        else:
            frame.to_parquet(temporary, index=False, compression="zstd")


def write_rows(path: str | Path, rows: list[dict]) -> None:
    """Write dictionaries of the same keys as .csv, without pandas, whose import takes longer than many a stage's work."""
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_table(path: str | Path, columns: Iterable[str] | None = None):
    """A data frame from .csv or .parquet; with ``columns`` only those of them that it has.

    Raises:
        DataError: it is not what SHA256SUMS beside it says.
    """
    import pandas as pd

    if not integrity.summed(Path(path)):
        raise DataError(f"{path}: differs from {integrity.SUMS} beside it; delete it to have it made again")
    wanted = None if columns is None else set(columns)
    if Path(path).suffix == ".csv":
        return pd.read_csv(path, usecols=None if wanted is None else wanted.__contains__)
    if wanted is None:
        return pd.read_parquet(path)
    import pyarrow.parquet

    return pd.read_parquet(path, columns=[name for name in pyarrow.parquet.read_schema(path).names if name in wanted])
