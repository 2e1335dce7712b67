"""Tables: CSV and Parquet files."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaepipe.storage.atomic import atomic
from vaepipe.storage.checksums import SUMS_FILE, matches_sums
from vaepipe.storage.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def write_table(path: str | Path, frame: pd.DataFrame) -> None:
    """Write a data frame as .csv or .parquet."""
    with atomic(path) as temporary:
        if Path(path).suffix == ".csv":
            frame.to_csv(temporary, index=False)
        else:
            frame.to_parquet(temporary, index=False, compression="zstd")


def write_rows(path: str | Path, rows: list[dict[str, Any]]) -> None:
    """Write dictionaries with the same keys as .csv, without pandas, which takes longer to import than many
    jobs run."""
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_table(path: str | Path, columns: Iterable[str] | None = None) -> pd.DataFrame:
    """Return a data frame from .csv or .parquet; with ``columns`` only those of them that the file has.

    Raises:
        DataError: the file differs from its entry in SHA256SUMS.
    """
    import pandas as pd

    path = Path(path)
    if not matches_sums(path):
        raise DataError(f"{path}: differs from {SUMS_FILE} beside it; delete it to have it made again")
    wanted = None if columns is None else set(columns)
    if path.suffix == ".csv":
        return pd.read_csv(path, usecols=None if wanted is None else wanted.__contains__)
    if wanted is None:
        return pd.read_parquet(path)
    import pyarrow.parquet

    names = pyarrow.parquet.read_schema(path).names
    return pd.read_parquet(path, columns=[name for name in names if name in wanted])
