"""Pages of the report beside the pictures: claims, numbers, configuration, versions, run times."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
import yaml

from vaepipe import pages
from vaepipe.study.jobs import HANDED_OVER

MOST = 500
"""Rows of a figure's numbers that are shown."""
CLAIMS = ("claim", "data set", "attack", "statistic", "estimate [95 %]", "n", "verdict", "figure", "note")
BRIEF = ("claim", "data set", "attack", "estimate [95 %]", "verdict")
TIMES = (
    "data set",
    "stage",
    "jobs",
    "total, s",
    "median, s",
    "longest, s",
    "CPU time, s",
    "most memory, MB",
)


class Run(NamedTuple):
    """The last run of a job: its stage, data set and first file, and what Snakemake measured of it."""

    stage: str
    dataset: str
    file: str
    measured: Mapping[str, object]


def claims(table: pd.DataFrame, brief: bool = False) -> str:
    """Return the page of claims with their statistics and verdicts; in brief only the table, with fewer
    columns.

    Args:
        table: as `vaepipe.claims.judge` returns it.
    """
    columns = BRIEF if brief else CLAIMS
    texts = ("dataset", "loss", "statistic", "n", "figure", "note")
    rows = []
    for row in table.fillna(dict.fromkeys(texts, "")).itertuples():
        estimate = "–"
        if pd.notna(row.estimate):
            estimate = f"{row.estimate:.3g} [{row.low:.3g}, {row.high:.3g}]"
        figure = row.figure.replace("_", " ")
        cells = [
            row.claim,
            row.dataset,
            row.loss,
            row.statistic,
            estimate,
            row.n,
            row.verdict,
            figure,
            row.note,
        ]
        by_column = dict(zip(CLAIMS, cells))
        rows.append([by_column[name] for name in columns])
    part = {"columns": list(columns), "rows": rows}
    if brief:
        return pages.render("table.html", item=part)
    intro = (
        "What the two posts claim, in their order, and what this study finds: the statistic that "
        "decides, its 95 % interval "
        "over image pairs and training seeds, and the verdict, which is about this study's models only."
    )
    return pages.render("page.html", title="Claims", intro=intro, parts=[part])


def numbers(name: str, table: pd.DataFrame) -> str:
    """Return the page with the numbers that a figure shows."""
    shown = table.head(MOST)
    cells = shown.astype(object).where(shown.notna(), "–").values
    rows = [[f"{value:.6g}" if isinstance(value, float) else value for value in row] for row in cells]
    intro = f"What the figure shows, from results/figures/{name}.csv."
    if len(table) > MOST:
        intro += f" Here are the first {MOST} of its {len(table):,} rows."
    part = {"columns": list(table.columns), "rows": rows}
    return pages.render("page.html", title=name.replace("_", " "), intro=intro, parts=[part])


def configuration(config: dict) -> str:
    """Return the page with the effective configuration as YAML; lists stand on one line."""
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    intro = "The configuration of this study with every default written out, as results/config.json has it."
    return pages.render("page.html", title="Configuration", intro=intro, parts=[{"code": text}])


def versions(counts: Iterable[tuple[Mapping[str, str], str, int]], libraries: Sequence[str]) -> str:
    """Return the page of the versions behind the evaluations and attacks.

    Args:
        counts: (library → version, git revision, number of files).
        libraries: columns of the page.
    """
    rows = [[n, git, *(known.get(name, "–") for name in libraries)] for known, git, n in counts]
    intro = (
        "The versions that made the evaluations and attacks of this study, from the attributes of "
        "each file. More than one row "
        "means that parts were made at different times by different code or versions."
    )
    part = {"columns": ["files", "vaepipe's git revision", *libraries], "rows": rows}
    return pages.render("page.html", title="Versions", intro=intro, parts=[part])


def times(runs: Sequence[Run], absent: int) -> str:
    """Return the page with time and memory of the jobs by data set and stage, and the slowest jobs.

    Args:
        absent: jobs without a benchmark file.
    """
    groups: dict[tuple[str, str], list[Mapping]] = defaultdict(list)
    for run in runs:
        groups[run.dataset, run.stage].append(run.measured)
    rows = [[*key, len(measured), *_summary(measured)] for key, measured in groups.items()]
    slowest = sorted(((run.measured["s"], run.stage, run.file) for run in runs), reverse=True)[:10]
    top = [[stage, file, f"{seconds:.1f}"] for seconds, stage, file in slowest]
    intro = "Wall-clock time of the jobs, process start included, as Snakemake's benchmark files have it."
    intro += " Processor time and memory are of the jobs that no job server did."
    if absent:
        intro += f" {absent} jobs have no benchmark file and are left out."
    longest = {"title": "The longest jobs", "columns": ["stage", "file", "s"], "rows": top}
    parts = [{"columns": list(TIMES), "rows": rows}, longest]
    return pages.render("page.html", title="Run times", intro=intro, parts=parts)


def _summary(measured: Sequence[Mapping]) -> list[str]:
    seconds = [job["s"] for job in measured]
    cpu = _known(measured, "cpu_time")
    memory = _known(measured, "max_rss")
    summary = [f"{sum(seconds):.1f}", f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}"]
    return [*summary, f"{sum(cpu):.1f}" if cpu else "–", f"{max(memory):.0f}" if memory else "–"]


def _known(measured: Sequence[Mapping], key: str) -> list[float]:
    """Return the values that are numbers, of jobs that Snakemake could measure: elsewhere it writes text."""
    seen = [job for job in measured if isinstance(job["max_rss"], (int, float))]
    return [job[key] for job in seen if job["max_rss"] >= HANDED_OVER and isinstance(job[key], (int, float))]
