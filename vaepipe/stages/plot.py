"""Stage: one figure of `vaepipe.figures`.

python -m vaepipe.stages.plot NAME --spec JSON [--models F] [--images F] [--attacks F] [--ball F] [--arrays F …] --out A.pdf B.png C.csv
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import pandas as pd

from vaepipe.figures.registry import FIGURES, Data, Entry
from vaepipe.stages import collect
from vaepipe.storage.atomic import atomic
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.h5 import open_h5, read_text
from vaepipe.storage.tables import read_table
from vaepipe.study.grid import Cell

TABLES = ("models", "images", "attacks", "ball")
FLAG = "masked"
"""Column that figures mark where a table has it."""


def read(entry: Entry, spec: dict, tables: dict[str, Path | None], arrays: list[str]) -> Data:
    """The tables and files that the figure reads.

    Raises:
        DataError: one is missing, not a table, or lacks a column.
    """
    found = {}
    for table, columns in entry.tables.items():
        path = tables[table]
        if path is None:
            raise DataError(f"--{table} is missing: this figure reads it")
        try:
            frame = read_table(path, (*Cell.__dataclass_fields__, *columns, FLAG))
        except FileNotFoundError as error:
            raise DataError(f"{path}: no such file") from error
        except ValueError as error:  # pyarrow's and pandas' errors for damaged files
            raise DataError(f"{path}: not a readable table; delete it to have it made again") from error
        if absent := [name for name in (*Cell.__dataclass_fields__, *columns) if name not in frame]:
            raise DataError(f"{path}: lacks column {', '.join(absent)}; expected the table {table} of vaepipe.stages.collect")
        found[table] = frame
    if len(spec["cells"]) != len(arrays):
        raise DataError(f"--arrays: {len(arrays)} files for {len(spec['cells'])} cells of the spec")
    return Data(**found, arrays=[(Cell(**cell), path) for cell, path in zip(spec["cells"], arrays)])


def flags(arrays: list[tuple[Cell, str]], checked: dict) -> pd.DataFrame | None:
    """Rows of the table robustness of a few attacks, from their own files: the whole table would wait for all models.

    Args:
        arrays: (cell, path) of attack files.
        checked: ``checked`` and ``ball``, as `vaepipe.study.config.Study.collect_spec` gives them.
    """
    found = []
    for cell, path in arrays:
        with open_h5(path, "attack") as file:
            loss = read_text(file, "loss")
        balls = {loss: collect.ball_rows(cell, loss, cell.ball(loss))} if loss in checked["ball"] else {}
        attacks = {loss: collect.attack_rows(cell, loss, path)}
        found.append(collect.robustness_rows(cell, attacks, checked["checked"], balls))
    return pd.concat(found, ignore_index=True) if found else None


def write(entry: Entry, data: Data, options: dict, outs: list[Path]) -> None:
    """Make the figure once and write it to every path, in the format of its suffix."""
    made = entry.load()(data, options)
    for path in outs:
        # not straight to the disk: when that is full, matplotlib fails in closing and hides why
        image = io.BytesIO()
        if path.suffix == ".csv":
            pd.DataFrame(made.rows).to_csv(image, index=False)
        elif isinstance(made, str):
            image.write(made.encode())
        else:
            from vaepipe.figures import style

            style.save(made, image, path.suffix)
        with atomic(path) as temporary:
            temporary.write_bytes(image.getbuffer())


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m vaepipe.stages.plot", description="Make one figure.")
    parser.add_argument("name", choices=FIGURES, metavar="NAME", help=", ".join(FIGURES))
    parser.add_argument(
        "--spec", required=True, type=json.loads, help="JSON: plot (options), cells (one for each of --arrays), checked"
    )
    for table in TABLES:
        parser.add_argument(f"--{table}", type=Path, help=f"table {table} (.csv or .parquet)")
    parser.add_argument("--robustness", type=Path, help="table robustness, whose flags the headline says (.csv)")
    parser.add_argument("--arrays", nargs="*", default=[], help="HDF5 files, evaluations or attacks")
    parser.add_argument(
        "--out",
        required=True,
        nargs="+",
        type=Path,
        help="files to write: .pdf, .png and .csv (its numbers), or .txt for the headline",
    )
    args = parser.parse_args(argv)
    entry = FIGURES[args.name]
    if wrong := [path for path in args.out if path.suffix not in entry.suffixes]:
        raise DataError(f"{wrong[0]}: {args.name} is written as {' or '.join(entry.suffixes)}")
    data = read(entry, args.spec, {table: getattr(args, table) for table in TABLES}, args.arrays)
    data.robustness = read_table(args.robustness) if args.robustness else None
    if "checked" in args.spec:
        data.robustness = flags(data.arrays, args.spec["checked"])
    write(entry, data, args.spec["plot"], args.out)


if __name__ == "__main__":
    run_stage(main)
