"""Stage: the table of claims.

python -m vaepipe.stages.claims --spec JSON --models F --images F --attacks F [--arrays F ...] --out claims.csv claims.md claims.txt
"""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path

import pandas as pd

from vaepipe.claims import UNTESTABLE, Evidence, judge
from vaepipe.figures import style
from vaepipe.figures.registry import DISTANCES, TRIAL, Entry
from vaepipe.figures.swissroll import read_roll
from vaepipe.stages.plot import read
from vaepipe.storage.atomic import atomic
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.tables import write_table

ENTRY = Entry(
    "claims",
    "What the posts claim, and what this study says.",
    tables={
        "models": ("overlap", "overlap_se", "sigma_norm", "mig"),
        "images": ("image", "elbo", "log_likelihood", "sigma_norm"),
        "attacks": (*TRIAL, *DISTANCES, "target_nll"),
    },
    arrays="evaluation",
)


def markdown(table: pd.DataFrame) -> str:
    """The table for readers, in the posts' order."""
    names = ["claim", "data set", "attack", "statistic", "estimate [95 %]", "n", "verdict", "figure", "note"]
    lines = ["# Claims of the two posts, measured in this study", "", "Explained in docs/claims.md.", ""]
    for part, rows in table.groupby("part"):
        lines += [f"## Part {part}", "", f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
        for r in rows.fillna({"loss": "", "note": "", "dataset": ""}).itertuples():
            shown = "" if r.verdict == UNTESTABLE else style.interval((r.estimate, r.low, r.high))
            cells = [r.claim, r.dataset, r.loss, r.statistic, shown, r.n, f"**{r.verdict}**", r.figure, r.note]
            lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def text(table: pd.DataFrame) -> str:
    """The verdicts for a terminal, a line each; what cannot be tested is named together."""
    tested, rest = table[table["verdict"] != UNTESTABLE], table[table["verdict"] == UNTESTABLE]
    lines = ["Claims of the two posts on this study; statistics and intervals in results/tables/claims.md"]
    for (claim, verdict), rows in tested.groupby(["claim", "verdict"], sort=False):
        where = dict.fromkeys(r.dataset + (f" {r.loss}" if r.loss and "attack" not in claim else "") for r in rows.itertuples())
        odd = "  output space DISAGREES" if rows["note"].str.contains("DISAGREES").any() else ""
        lines.append(f"  {verdict:<20}{textwrap.shorten(claim, 66, placeholder='…'):<68}{', '.join(where)}{odd}")
    if len(rest):
        claims = "; ".join(rest["claim"])
        lines.append(textwrap.fill(f"{UNTESTABLE}: {claims}", 112, initial_indent="  ", subsequent_indent="    "))
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m vaepipe.stages.claims", description="Judge the claims of the two posts.")
    parser.add_argument("--spec", required=True, type=json.loads, help="JSON: plot (options), cells (one for each of --arrays)")
    for table in ("models", "images", "attacks"):
        parser.add_argument(f"--{table}", required=True, type=Path, help=f"table {table} (.csv or .parquet)")
    parser.add_argument("--arrays", nargs="*", default=[], help="evaluations of swiss-roll models (.h5)")
    parser.add_argument("--out", required=True, nargs="+", type=Path, help="files to write: .csv, .md, .txt")
    args = parser.parse_args(argv)
    if wrong := [path for path in args.out if path.suffix not in (".csv", ".md", ".txt")]:
        raise DataError(f"{wrong[0]}: claims are written as .csv, .md or .txt")
    tables = {table: getattr(args, table) for table in ("models", "images", "attacks")}
    data = read(ENTRY, args.spec, tables, args.arrays)
    roll = {(cell.family, cell.beta): read_roll(path) for cell, path in data.arrays}
    table = judge(Evidence(data.models, data.images, data.attacks, roll, args.spec["plot"]["resamples"]))
    for path in args.out:
        if path.suffix == ".csv":
            write_table(path, table)
        else:
            with atomic(path) as temporary:
                temporary.write_text(markdown(table) if path.suffix == ".md" else text(table), encoding="utf-8")


if __name__ == "__main__":
    run_stage(main)
