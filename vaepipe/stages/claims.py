"""Stage: the table of claims.

python -m vaepipe.stages.claims --spec JSON --models F --images F --attacks F [--arrays F …]
                          --out claims.csv claims.md claims.txt
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

import pandas as pd

from vaepipe.analysis.formatting import interval_text
from vaepipe.analysis.intervals import Interval
from vaepipe.claims import UNTESTABLE, Evidence, after, judge
from vaepipe.stages import inputs
from vaepipe.storage.atomic import atomic
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.tables import write_table
from vaepipe.study.specs import FigureSpec

TRIAL = ("loss", "lam", "pair", "objective", "target_nll")
PRECISION = ("pair_divergence", "pair_divergence_median", "squared_precision")
DISTANCES = ("norm", "input_distance", "adversarial_distance", "target_distance", "original_distance")
TABLES = {
    "models": ("overlap", "overlap_se", "sigma_norm", "mig", *PRECISION),
    "images": ("image", "elbo", "log_likelihood", "sigma_norm"),
    "attacks": (*TRIAL, *DISTANCES),
}
"""Table → columns that the claims need beside those of the cell."""
ROLL = {"x": "K", "sample": "K", "reconstruction": "K"}
"""Arrays of a swiss-roll model's evaluation that the claims need, and their first axes."""
HEADER = ("claim", "data set", "attack", "statistic", "estimate [95 %]", "n", "verdict", "figure", "note")


def markdown(table: pd.DataFrame) -> str:
    """Return the table for readers, in the posts' order."""
    lines = ["# Claims of the two posts, measured in this study", "", "Explained in docs/claims.md.", ""]
    for part, rows in table.groupby("part"):
        lines += [f"## Part {part}", "", f"| {' | '.join(HEADER)} |", "|" + "---|" * len(HEADER)]
        for row in rows.fillna({"loss": "", "note": "", "dataset": ""}).itertuples():
            estimate = ""
            if row.verdict != UNTESTABLE:
                estimate = interval_text(Interval(row.estimate, row.low, row.high))
            cells = [row.claim, row.dataset, row.loss, row.statistic, estimate, row.n]
            cells += [f"**{row.verdict}**", row.figure, row.note]
            lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def text(table: pd.DataFrame) -> str:
    """Return the verdicts for a terminal, a line each; the claims that cannot be tested share one line."""
    tested, untestable = table[table["verdict"] != UNTESTABLE], table[table["verdict"] == UNTESTABLE]
    lines = ["Claims of the two posts on this study; statistics and intervals in results/tables/claims.md"]
    for (claim, verdict), rows in tested.groupby(["claim", "verdict"], sort=False):
        places = []
        for row in rows.itertuples():
            loss = f" {row.loss}" if row.loss and "attack" not in claim else ""
            places.append(row.dataset + loss + after(row.snapshot))
        disagrees = rows["note"].str.contains("output space disagrees").any()
        where = ", ".join(dict.fromkeys(places)) + ("  output space disagrees" if disagrees else "")
        lines.append(f"  {verdict:<20}{textwrap.shorten(claim, 66, placeholder='…'):<68}{where}")
    if len(untestable):
        names = f"{UNTESTABLE}: {'; '.join(untestable['claim'])}"
        lines.append(textwrap.fill(names, 112, initial_indent="  ", subsequent_indent="    "))
    return "\n".join(lines) + "\n"


def read(spec: FigureSpec, tables: dict[str, Path], arrays: list[str]) -> Evidence:
    """Return what the claims are judged by.

    Raises:
        DataError: a file is missing, damaged, or lacks a column or an array.
    """
    frames = inputs.read_tables(TABLES, tables)
    kept = inputs.read_tables({name: TABLES[name] for name in ("models", "attacks")}, tables, snapshots=True)
    attacked = kept["attacks"][kept["attacks"]["snapshot"] > 0].groupby("snapshot")
    roll = {}
    for cell, path in inputs.matched("--arrays", arrays, spec.cells):
        roll[cell.family, cell.beta] = inputs.read_evaluation(cell, path, ROLL).arrays
    return Evidence(
        **frames,
        path=kept["models"],
        snapshot_attacks={int(step): rows for step, rows in attacked},
        roll=roll,
        roll_dataset=spec.cells[0].dataset if spec.cells else "",
        resamples=spec.plot.resamples,
        things=spec.things,
    )


def main(argv: list[str] | None = None) -> None:
    """Run the stage with command-line arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m vaepipe.stages.claims", description="Judge the claims of the two posts."
    )
    described = (
        "JSON: plot (settings), cells (one for each of --arrays), things (data set → images or points)"
    )
    parser.add_argument("--spec", required=True, help=described)
    for table in TABLES:
        parser.add_argument(f"--{table}", required=True, type=Path, help=f"table {table} (.csv or .parquet)")
    parser.add_argument("--arrays", nargs="*", default=[], help="evaluations of swiss-roll models (.h5)")
    parser.add_argument("--out", required=True, nargs="+", type=Path, help="files to write: .csv, .md, .txt")
    args = parser.parse_args(argv)
    if wrong := [path for path in args.out if path.suffix not in (".csv", ".md", ".txt")]:
        raise DataError(f"{wrong[0]}: claims are written as .csv, .md or .txt")
    evidence = read(
        FigureSpec.from_json(args.spec), {table: getattr(args, table) for table in TABLES}, args.arrays
    )
    table = judge(evidence)
    for path in args.out:
        if path.suffix == ".csv":
            write_table(path, table)
            continue
        content = markdown(table) if path.suffix == ".md" else text(table)
        with atomic(path) as temporary:
            temporary.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    run_stage(main)
