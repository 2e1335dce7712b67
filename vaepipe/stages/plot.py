"""Stage: one figure of `vaepipe.figures`.

python -m vaepipe.stages.plot NAME --spec JSON [--models F] [--images F] [--attacks F] [--ball F]
[--robustness F]
    [--arrays F …] [--measures F …] [--balls F …] [--config F] --out A.pdf B.png C.csv D.md
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vaepipe.analysis import verdict
from vaepipe.figures.captions import Caption
from vaepipe.figures.data import CellArrays, Data
from vaepipe.figures.registry import FIGURES, Entry, entries
from vaepipe.stages import inputs
from vaepipe.storage.atomic import atomic
from vaepipe.storage.digests import file_digest
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.h5 import open_h5, read_text
from vaepipe.storage.provenance import record
from vaepipe.study.cells import Cell
from vaepipe.study.specs import FigureSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHECKS = ("noise_divergence", "transfer_divergence", "transfer_norm", "restart_divergence", "restart_norm")
"""Arrays of a measure file that decide whether an attack is flagged."""


def read(
    entry: Entry,
    spec: FigureSpec,
    tables: Mapping[str, Path | None],
    arrays: Sequence[str],
    measures: Sequence[str] = (),
    balls: Sequence[str] = (),
) -> Data:
    """Return what the figure reads.

    Args:
        arrays: files of evaluations or attacks, one for each cell of the spec.
        measures: files that measure these attacks, in the same order.
        balls: files of attacks of bounded size on any of these models.

    Raises:
        DataError: a file is missing, damaged, or lacks a column or an array.
    """
    data = Data(
        **inputs.read_tables(entry.tables, tables, entry.snapshots), things=spec.things, caveats=spec.caveats
    )
    files = inputs.matched("--arrays", arrays, spec.cells)
    if "evaluation" in entry.arrays:
        axes = entry.arrays["evaluation"]
        data.arrays = [inputs.read_evaluation(cell, path, axes) for cell, path in files]
    if "history" in entry.arrays:
        data.arrays = [inputs.read_history(cell, path, entry.arrays["history"]) for cell, path in files]
    if "attack" in entry.arrays:
        inputs.matched("--measures", measures, spec.cells)
        bounded = dict(map(_ball_checks, balls))
        flags = []
        for (cell, path), measure in zip(files, measures):
            attacked, row = _read_attack(entry, cell, path, measure, bounded, spec.plot.pairs)
            data.arrays.append(attacked)
            flags.append(row)
        data.robustness = pd.DataFrame(flags) if flags else None
    return data


def _read_attack(
    entry: Entry,
    cell: Cell,
    attack: str,
    measure: str,
    balls: Mapping[tuple[str, ...], Mapping[str, np.ndarray]],
    pairs: int,
) -> tuple[CellArrays, dict[str, object]]:
    """Return the first pairs of one attack, and its row of the table robustness as far as flags need it.

    The row comes from the attack's own files, as the table is there only when all models are done.

    Args:
        balls: `inputs.attack_key` → checks by attacks of bounded size.
    """
    with open_h5(attack, "attack") as file, open_h5(measure, "measure") as measured:
        arrays = inputs.read_arrays(file, entry.arrays["attack"], pairs)
        arrays |= inputs.read_arrays(measured, entry.arrays["measure"], pairs)
        loss = read_text(file, "loss")
        checks = {name: measured[name][()] for name in CHECKS if name in measured}
        checks |= balls.get(inputs.attack_key(file), {})
        masked = ""
        if checks:
            lambdas = file["lambdas"][:]
            shape = file["objective"].shape
            grid = {name: np.asarray(_either(file, measured, name), float) for name in verdict.GRID}
            grid = {name: np.broadcast_to(array, shape) for name, array in grid.items()}
            masked = str(verdict.judge(grid, lambdas, checks)["masked"])
    return CellArrays(cell, arrays, {"loss": loss}), vars(cell) | {"loss": loss, "masked": masked}


def _either(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return (first if name in first else second)[name][:]


def _ball_checks(path: str) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Return the key of an attack of bounded size, and its result in balls of the 2-norm, if any."""
    with open_h5(path, "ball") as file:
        euclidean = file["ball"].asstr()[:] == "l2"
        checks = {f"ball_{name}": file[name][:][euclidean].astype(float) for name in ("divergence", "norm")}
        return inputs.attack_key(file), checks if euclidean.any() else {}


def write(figure: Figure | str, outs: Sequence[Path], provenance: str = "") -> None:
    """Write a figure to every path, in the format of its suffix: picture, numbers, or caption."""
    for path in outs:
        # not straight to the disk: when that is full, matplotlib fails in closing and hides why
        content = io.BytesIO()
        if isinstance(figure, str):
            content.write(figure.encode())
        elif path.suffix == ".csv":
            pd.DataFrame(_rows(figure)).to_csv(content, index=False)
        elif path.suffix in (".md", ".txt"):
            caption = getattr(figure, "caption", None) or Caption(title=path.stem)
            content.write((caption.markdown() if path.suffix == ".md" else caption.plain()).encode())
        else:
            from vaepipe.figures import style

            style.save(figure, content, path.suffix, provenance)
        with atomic(path) as temporary:
            temporary.write_bytes(content.getbuffer())


def _rows(figure: Figure) -> list[dict]:
    """Return the numbers that a figure shows, with their places, or the points of the lines of a user's
    figure."""
    from vaepipe.figures.style import Page

    if isinstance(figure, Page) and figure.rows:
        return figure.numbers()
    if rows := getattr(figure, "rows", None):
        return rows
    lines = [(panel, line) for panel, ax in enumerate(figure.axes) for line in ax.lines]
    points = (
        (panel, line.get_label(), x, y) for panel, line in lines for x, y in np.asarray(line.get_xydata())
    )
    return [dict(zip(("panel", "line", "x", "y"), point)) for point in points] or [{"note": "no lines"}]


def provenance(config: Path | None) -> str:
    """Return what the metadata of pictures say: the digest of the study's configuration, and the commit."""
    digest = file_digest(config)[:16] if config else "unknown"
    return f"vaepipe, configuration {digest}, commit {record()['git']}"


def main(argv: list[str] | None = None) -> None:
    """Run the stage with command-line arguments."""
    parser = argparse.ArgumentParser(prog="python -m vaepipe.stages.plot", description="Make one figure.")
    parser.add_argument("name", help=f"{', '.join(FIGURES)}, or one of plot.figures")
    described = (
        "JSON: plot (settings), cells (one for each of --arrays), things (data set → images or points)"
    )
    parser.add_argument("--spec", required=True, help=described)
    for table in inputs.TABLES:
        parser.add_argument(f"--{table}", type=Path, help=f"table {table} (.csv or .parquet)")
    parser.add_argument("--arrays", nargs="*", default=[], help="HDF5 files, evaluations or attacks")
    parser.add_argument("--measures", nargs="*", default=[], help="HDF5 files that measure the attacks")
    parser.add_argument("--balls", nargs="*", default=[], help="HDF5 files of attacks of bounded size")
    parser.add_argument("--config", type=Path, help="effective configuration (.json), for the metadata")
    suffixes = "files to write: .pdf, .png, .svg, .csv (its numbers), .md and .txt (its caption)"
    parser.add_argument("--out", required=True, nargs="+", type=Path, help=suffixes)
    args = parser.parse_args(argv)
    spec = FigureSpec.from_json(args.spec)
    known = entries(spec.plot)
    if args.name not in known:
        raise DataError(f"{args.name}: no such figure; there are {', '.join(known)}")
    entry = known[args.name]
    if wrong := [path for path in args.out if path.suffix not in entry.suffixes]:
        raise DataError(f"{wrong[0]}: {args.name} is written as {' or '.join(entry.suffixes)}")
    tables = {table: getattr(args, table) for table in inputs.TABLES}
    data = read(entry, spec, tables, args.arrays, args.measures, args.balls)
    write(entry.load()(data, spec.plot), args.out, provenance(args.config))


if __name__ == "__main__":
    run_stage(main)
