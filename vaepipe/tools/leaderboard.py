"""A table and a page of audits, the easiest model to fool first.

    vaepipe leaderboard AUDIT [AUDIT …] --out leaderboard/

A row is there only if the files of its audit are those whose digests its scorecard names.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

from vaepipe import pages
from vaepipe.pages.audit import interval, one_line, share
from vaepipe.storage.atomic import atomic
from vaepipe.storage.digests import file_digest
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.tables import write_table
from vaepipe.tools.audit_report import SCORECARD, of_tables

AT = "0.25"
"""Distortion, as a share of ‖x − x_t‖₂, at which models are compared."""
KEYS = ("name", "losses", "files", "source", "budget", "cell", "vaepipe")


def read_audit(folder: Path) -> dict[str, Any]:
    """Return the scorecard of an audit whose files are undamaged.

    Raises:
        DataError: there is no scorecard, a file differs from its digest, or the numbers are not those of the
            tables.
    """
    path = folder / SCORECARD
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no readable scorecard; expected a folder of vaepipe audit") from error
    if not isinstance(card, dict) or not all(key in card for key in KEYS) or not card["losses"]:
        raise DataError(f"{path}: not a scorecard of vaepipe audit")
    for name, digest in card["files"].items():
        file = folder / name
        if not file.is_file() or file_digest(file) != digest:
            raise DataError(f"{file}: is not the file that {SCORECARD} was made from")
    if of_tables(folder, card["files"], [loss["loss"] for loss in card["losses"]]) != card["losses"]:
        raise DataError(f"{path}: its numbers are not those of the tables beside it")
    return card


def rows(folders: list[Path]) -> pd.DataFrame:
    """Return one row per audit, by data set, then by the share of fooled pairs of its leading attack."""
    table = []
    for folder in folders:
        card = read_audit(folder)
        lead = card["losses"][0]
        at, elbo = lead["success"][AT], card.get("elbo") or {}
        row = {"model": card["name"], "images": card["source"], "d_z": card["d_z"], "attack": lead["loss"]}
        row |= {"success": at["fooled"] / lead["pairs"] if lead["pairs"] else float("nan")}
        row |= {"success_low": at["low"], "success_high": at["high"], "pairs": lead["pairs"]}
        row |= dict(zip(("auddc", "auddc_low", "auddc_high"), lead["auddc"]))
        row |= {"flags": lead["flags"], "elbo": elbo.get("mean"), "elbo_se": elbo.get("se")}
        row |= {"budget": card["budget"], "who": card.get("who", ""), "how": card.get("command", "")}
        table.append(row | {"vaepipe": card["vaepipe"], "scorecard": file_digest(folder / SCORECARD)})
    frame = pd.DataFrame(table)
    return frame.sort_values(["images", "success"], ascending=[True, False], ignore_index=True, kind="stable")


def page(frame: pd.DataFrame) -> str:
    """Return the page."""
    columns = ["model", "images", f"fooled at h ≤ {AT}", "AUDDC", "attack", "ELBO", "d_z", "pairs", "budget"]
    table, made = [], []
    for row in frame.to_dict("records"):
        ends = {"low": row["success_low"], "high": row["success_high"]}
        success = share({"fooled": row["success"] * row["pairs"], **ends}, row["pairs"])
        areas = [None if pd.isna(row[key]) else row[key] for key in ("auddc", "auddc_low", "auddc_high")]
        elbo = "–" if pd.isna(row["elbo"]) else f"{row['elbo']:.1f} ± {row['elbo_se']:.1f}"
        name = row["model"] + (" †" if row["flags"] else "")
        cells = [name, Path(row["images"]).name, success, interval(areas), row["attack"], elbo, row["d_z"]]
        table.append([one_line(str(cell)) for cell in (*cells, row["pairs"], row["budget"])])
        made.append([one_line(name), row["who"], row["how"], row["flags"]])
    intro = (
        "Audited models, the easiest to fool first, by the leading attack of each at distortions of "
        f"at most {AT} of the way to the target. † flagged as too weak. Numbers of "
        "different images are not comparable, and overlapping intervals do not order their models."
    )
    rest = {
        "title": "Who made each row, and how",
        "columns": ["model", "who", "command", "flags"],
        "rows": made,
    }
    numbers = {"columns": [one_line(column) for column in columns], "rows": table}
    return pages.render("page.html", title="Leaderboard", intro=intro, parts=[numbers, rest])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="vaepipe leaderboard", description="Make a table and a page of audits."
    )
    parser.add_argument("audits", nargs="+", type=Path, help="folders of vaepipe audit")
    parser.add_argument(
        "--out", type=Path, default=Path("leaderboard"), help="folder to write (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    frame = rows(args.audits)
    write_table(args.out / "leaderboard.csv", frame)
    with atomic(args.out / "index.html") as temporary:
        temporary.write_text(page(frame), encoding="utf-8")
    shown = frame[
        ["model", "images", "success", "success_low", "success_high", "attack", "elbo", "flags", "who"]
    ]
    print(shown.round(3).to_string(index=False))
    print(args.out / "index.html")


if __name__ == "__main__":
    run_stage(main)
