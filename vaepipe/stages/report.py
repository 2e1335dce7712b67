"""Stage: pages of the report: its first page, claims, each figure with its numbers, configuration, versions,
run times.

python -m vaepipe.stages.report --config config.json [--jobs DIGEST] --claims claims.csv
--headline headline.txt --models models.csv --robustness robustness.csv --figures NAME … --out FOLDER
"""

from __future__ import annotations

import argparse
import base64
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from vaepipe.analysis.overview import overview
from vaepipe.pages import report
from vaepipe.pages.report import Picture
from vaepipe.storage.atomic import atomic
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.h5 import open_h5, read_text
from vaepipe.storage.provenance import LIBRARIES
from vaepipe.storage.tables import read_table
from vaepipe.study import drawings
from vaepipe.study.jobs import Job, of_stage, read_jobs
from vaepipe.study.patterns import STAGES
from vaepipe.study.progress import first_paragraph
from vaepipe.study.study import Study

FIGURES = Path("results/figures")

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


def picture(name: str, embedded: bool) -> Picture:
    """Return a figure of the study with its caption; embedded in the page, or by its address from the folder
    of the report's pages."""
    path = FIGURES / f"{name}.png"
    address = f"../figures/{name}.png"
    if embedded:
        address = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    caption = path.with_suffix(".txt")
    paragraphs = caption.read_text(encoding="utf-8").strip().split("\n\n") if caption.exists() else []
    return Picture(name, address, paragraphs, read_table(path.with_suffix(".csv")))


def made(listed: Sequence[Job]) -> str:
    """Return when the newest of a study's files was made, and by which revision of the code, in words."""
    files = [Path(job.output) for job in of_stage(listed, *WITH_VERSIONS)]
    if not files:
        return ""
    newest = max(files, key=lambda path: path.stat().st_mtime)
    day = datetime.fromtimestamp(newest.stat().st_mtime, UTC).strftime("%d %B %Y").lstrip("0")
    with open_h5(newest, STAGES[of_kind(listed, newest)].kind) as file:
        return f"Computed on {day} by revision {read_text(file, 'git')} of vaepipe."


def of_kind(listed: Sequence[Job], path: Path) -> str:
    """Return the stage that wrote a file."""
    return next(job.stage for job in listed if Path(job.output) == path)


def by_trust(names: Sequence[str]) -> list[str]:
    """Return figures in the order in which they are to be believed."""
    first = [name for name in report.TRUST if name in names]
    return first + [name for name in names if name not in first]


def pages_of(args: argparse.Namespace, config: dict) -> Iterator[tuple[str, str]]:
    """Yield the file name and the text of each page, and of the table of all models."""
    listed, table = read_jobs(args.config, args.jobs), read_table(args.claims)
    study, names = Study.read(args.config), by_trust(args.figures)
    paragraph = first_paragraph(args.headline)
    yield "claims.html", report.claims(table)
    main_figure = picture(names[0], embedded=True) if names else None
    yield "answer.html", report.answer(paragraph, main_figure, table)
    table_of_all = overview(read_table(args.models), read_table(args.robustness))
    yield report.OVERVIEW_FILE, table_of_all.to_csv(index=False)
    pictures = [picture(name, embedded=False) for name in names]
    title, absent = ", ".join(study.names), drawings.absent_figures(study)
    yield "index.html", report.index(title, made(listed), paragraph, pictures, table, table_of_all, absent)
    yield "configuration.html", report.configuration(config)
    yield "versions.html", versions(listed)
    yield "times.html", times(listed)
    for name in names:
        yield f"figures/{name}.html", report.figure(picture(name, embedded=True))


def main(argv: list[str] | None = None) -> None:
    """Run the stage with command-line arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m vaepipe.stages.report", description="Make the report's pages."
    )
    parser.add_argument("--config", required=True, type=Path, help="effective configuration (.json)")
    parser.add_argument("--jobs", default="", help="digest of the study's jobs, to compare with")
    parser.add_argument("--claims", required=True, type=Path, help="table of vaepipe.claims (.csv)")
    parser.add_argument("--headline", required=True, type=Path, help="summary of the study (.txt)")
    parser.add_argument("--models", required=True, type=Path, help="table of models (.csv)")
    parser.add_argument(
        "--robustness", required=True, type=Path, help="table of attacks on each model (.csv)"
    )
    numbers = "figures in results/figures, each as NAME.png, NAME.csv and NAME.txt, its caption"
    parser.add_argument("--figures", nargs="*", default=[], metavar="NAME", help=numbers)
    folder = "folder for the pages, and figures/NAME for the numbers"
    parser.add_argument("--out", required=True, type=Path, help=folder)
    args = parser.parse_args(argv)
    try:
        config = json.loads(args.config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{args.config}: not readable as JSON; delete it to have it made again") from error
    for name, page in pages_of(args, config):
        with atomic(args.out / name) as temporary:
            temporary.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    run_stage(main)
