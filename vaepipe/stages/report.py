"""Stage: pages of the report that are no pictures: claims, the numbers of each figure, configuration,
versions, run times.

python -m vaepipe.stages.report --config config.json [--jobs DIGEST] --claims claims.csv --figures NAME …
--out FOLDER
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vaepipe.pages import report
from vaepipe.storage.atomic import atomic
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.h5 import open_h5, read_text
from vaepipe.storage.provenance import LIBRARIES
from vaepipe.storage.tables import read_table
from vaepipe.study.jobs import STAGES, Job, of_stage, read_jobs

WITH_VERSIONS = ("evaluate", "attack", "ball", "measure")
"""Stages whose files are asked for the versions that made them."""


def versions(listed: Sequence[Job]) -> str:
    """Return the page of versions, from the files of a study's jobs."""
    counts: Counter[tuple[str, str]] = Counter()
    for job in of_stage(listed, *WITH_VERSIONS):
        with open_h5(job.output, STAGES[job.stage].kind) as file:
            counts[read_text(file, "versions"), read_text(file, "git")] += 1
    return report.versions([(json.loads(text), git, n) for (text, git), n in counts.most_common()], LIBRARIES)


def times(listed: Sequence[Job]) -> str:
    """Return the page of run times, from the benchmark files of a study's jobs.

    A job whose benchmark file is missing is left out: nothing is trained again for a file that a user
        deleted.
    """
    runs, absent = [], 0
    for job in listed:
        if not (job.dataset and job.benchmark):
            continue
        benchmark = Path(job.benchmark)
        if not benchmark.is_file():
            absent += 1
            continue
        measured = json.loads(benchmark.read_text(encoding="utf-8").splitlines()[-1])
        runs.append(report.Run(job.stage, job.dataset, job.output, measured))
    return report.times(runs, absent)


def main(argv: list[str] | None = None) -> None:
    """Run the stage with command-line arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m vaepipe.stages.report", description="Make the report's pages that are no figures."
    )
    parser.add_argument("--config", required=True, type=Path, help="effective configuration (.json)")
    parser.add_argument("--jobs", default="", help="digest of the study's jobs, to compare with")
    parser.add_argument("--claims", required=True, type=Path, help="table of vaepipe.claims (.csv)")
    numbers = "figures with numbers in results/figures/NAME.csv"
    parser.add_argument("--figures", nargs="*", default=[], metavar="NAME", help=numbers)
    folder = "folder for the pages, and figures/NAME for the numbers"
    parser.add_argument("--out", required=True, type=Path, help=folder)
    args = parser.parse_args(argv)
    try:
        config = json.loads(args.config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{args.config}: not readable as JSON; delete it to have it made again") from error
    listed, table = read_jobs(args.config, args.jobs), read_table(args.claims)
    made = {"claims": report.claims(table), "verdicts": report.claims(table, brief=True)}
    made |= {
        "configuration": report.configuration(config),
        "versions": versions(listed),
        "times": times(listed),
    }
    for name in args.figures:
        made[f"figures/{name}"] = report.numbers(name, read_table(f"results/figures/{name}.csv"))
    for name, page in made.items():
        with atomic(args.out / f"{name}.html") as temporary:
            temporary.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    run_stage(main)
