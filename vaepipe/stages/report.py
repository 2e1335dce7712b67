"""Stage: pages of the report that are no pictures: claims, the numbers of each figure, configuration, versions, run times.

python -m vaepipe.stages.report --spec JSON --config config.json --claims claims.csv --figures NAME ... --out FOLDER
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import yaml

from vaepipe import pages
from vaepipe.storage import provenance
from vaepipe.storage.atomic import atomic
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.h5 import open_h5, read_text
from vaepipe.storage.tables import read_table
from vaepipe.study import grid
from vaepipe.study.grid import Cell

MOST = 500
"""Rows of a figure's numbers that are shown."""


def jobs(study: dict) -> Iterator[tuple[str, Cell, str, str, Path]]:
    """(stage, cell, kind of file, file, benchmark) of every job that is measured and writes HDF5.

    Args:
        study: as `vaepipe.study.config.Study.collect_spec` gives it.
    """
    for dataset, spec in study.items():
        trained = grid.cells(dataset, spec["grid"])
        for cell in [*trained, *grid.external(dataset, spec["external"])]:
            folder = Path("benchmarks/models", cell.name)
            if cell in trained:
                yield "train", cell, "", cell.model("model.safetensors"), folder / "train.jsonl"
            yield "evaluate", cell, "evaluation", cell.model("evaluation.h5"), folder / "evaluate.jsonl"
            for loss in grid.losses(cell, spec["losses"], spec["external"]):
                its = Path("benchmarks/attacks", cell.name, loss)
                yield "attack", cell, "attack", cell.attack(loss), its.with_suffix(".jsonl")
                for block in sorted(its.glob("*.jsonl")):  # there are some where λ is divided into jobs
                    yield "attack_block", cell, "", cell.block(loss, block.stem), block
            for loss in grid.losses(cell, spec["ball"], spec["external"]):
                yield "ball", cell, "ball", cell.ball(loss), Path("benchmarks/balls", cell.name, f"{loss}.jsonl")


def claims(table: pd.DataFrame, brief: bool = False) -> str:
    """The claims with their statistics and verdicts; in brief only the table, without statistic, n and note.

    Args:
        table: as `vaepipe.claims` writes it.
    """
    columns = ["claim", "data set", "attack", "statistic", "estimate [95 %]", "n", "verdict", "figure", "note"]
    kept = [0, 1, 2, 4, 6] if brief else range(len(columns))
    rows = []
    for r in table.fillna(dict.fromkeys(("dataset", "loss", "statistic", "n", "figure", "note"), "")).itertuples():
        number = f"{r.estimate:.3g} [{r.low:.3g}, {r.high:.3g}]" if pd.notna(r.estimate) else "–"
        cells = [r.claim, r.dataset, r.loss, r.statistic, number, r.n, r.verdict, r.figure.replace("_", " "), r.note]
        rows.append([cells[i] for i in kept])
    part = {"columns": [columns[i] for i in kept], "rows": rows}
    if brief:
        return pages.render("table.html", item=part)
    intro = "What the two posts claim, in their order, and what this study says of it: the statistic that decides, its 95 % "
    intro += "interval over image pairs and training seeds, and the verdict, which is about this study's models only."
    return pages.render("page.html", title="Claims", intro=intro, parts=[part])


def numbers(name: str, table: pd.DataFrame) -> str:
    """The numbers that a figure shows."""
    shown = table.head(MOST)
    cells = shown.astype(object).where(shown.notna(), "–").values
    rows = [[f"{value:.6g}" if isinstance(value, float) else value for value in row] for row in cells]
    intro = f"What the figure shows, from results/figures/{name}.csv."
    if len(table) > MOST:
        intro += f" Here are the first {MOST} of its {len(table):,} rows."
    part = {"columns": list(table.columns), "rows": rows}
    return pages.render("page.html", title=name.replace("_", " "), intro=intro, parts=[part])


def configuration(config: dict) -> str:
    """The effective configuration as YAML; lists on one line."""
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    intro = "The configuration of this study with every default written out, as results/config.json has it."
    return pages.render("page.html", title="Configuration", intro=intro, parts=[{"code": text}])


def versions(study: dict) -> str:
    """Which versions of what computes made the evaluations and the attacks."""
    found: Counter[tuple[str, str]] = Counter()
    for _, _, kind, path, _ in jobs(study):
        if kind:
            with open_h5(path, kind) as file:
                found[read_text(file, "versions"), read_text(file, "git")] += 1
    names = list(provenance.LIBRARIES)
    rows = []
    for (text, git), count in found.most_common():
        its = json.loads(text)
        rows.append([count, git, *(its.get(name, "–") for name in names)])
    intro = "What made the evaluations and attacks of this study, as each file says of itself: more than one row means that "
    intro += "parts were made at different times by different code or versions."
    part = {"columns": ["files", "vaepipe's git revision", *names], "rows": rows}
    return pages.render("page.html", title="Versions", intro=intro, parts=[part])


def times(study: dict) -> str:
    """Time and memory of the jobs by data set and stage, and the slowest jobs."""
    groups: dict[tuple[str, str], list[dict]] = defaultdict(list)
    slowest, absent = [], 0
    for stage, cell, _, path, benchmark in jobs(study):
        # measured, not made: where a user deleted a benchmark its job is left out, and nothing is trained again for it
        if not benchmark.is_file():
            absent += 1
            continue
        measured = json.loads(benchmark.read_text(encoding="utf-8").splitlines()[-1])
        groups[cell.dataset, stage].append(measured)
        slowest.append((measured["s"], stage, path))
    rows = [[dataset, stage, len(its), *_summary(its)] for (dataset, stage), its in groups.items()]
    columns = ["data set", "stage", "jobs", "total, s", "median, s", "longest, s", "CPU time, s", "most memory, MB"]
    top = [[stage, path, f"{seconds:.1f}"] for seconds, stage, path in sorted(slowest, reverse=True)[:10]]
    intro = "Wall-clock time of the jobs, process start included, as Snakemake's benchmark files have it."
    if absent:
        intro += f" {absent} jobs have no benchmark file and are left out."
    parts = [{"columns": columns, "rows": rows}, {"title": "The longest jobs", "columns": ["stage", "file", "s"], "rows": top}]
    return pages.render("page.html", title="Run times", intro=intro, parts=parts)


def _summary(its: list[dict]) -> list[str]:
    seconds = [job["s"] for job in its]
    cpu, memory = ([job[key] for job in its if isinstance(job[key], (int, float))] for key in ("cpu_time", "max_rss"))
    known = [f"{sum(cpu):.1f}" if cpu else "–", f"{max(memory):.0f}" if memory else "–"]
    return [f"{sum(seconds):.1f}", f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}", *known]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m vaepipe.stages.report", description="Make the report's pages that are no figures."
    )
    parser.add_argument("--spec", required=True, type=json.loads, help="JSON: data set → grid, losses")
    parser.add_argument("--config", required=True, type=Path, help="effective configuration (.json)")
    parser.add_argument("--claims", required=True, type=Path, help="table of vaepipe.claims (.csv)")
    parser.add_argument(
        "--figures", nargs="*", default=[], metavar="NAME", help="figures with numbers in results/figures/NAME.csv"
    )
    parser.add_argument("--out", required=True, type=Path, help="folder for the pages, and figures/NAME for the numbers")
    args = parser.parse_args(argv)
    try:
        config = json.loads(args.config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{args.config}: not readable as JSON; delete it to have it made again") from error
    table = read_table(args.claims)
    made = {"claims": claims(table), "verdicts": claims(table, brief=True)}
    made |= {"configuration": configuration(config), "versions": versions(args.spec), "times": times(args.spec)}
    for name in args.figures:
        made[f"figures/{name}"] = numbers(name, read_table(f"results/figures/{name}.csv"))
    for name, page in made.items():
        with atomic(args.out / f"{name}.html") as temporary:
            temporary.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    run_stage(main)
