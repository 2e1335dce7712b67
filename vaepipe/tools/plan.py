"""What a study will cost, without starting anything: jobs, finished jobs, hours, disk, the longest job.

    vaepipe plan --configfile configs/paper.yaml --directory my-study

Hours are estimated from the benchmark files of finished jobs of the same stage and data set. Disk space is
estimated from their files or, if there are none, from the sizes of the arrays.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path

from vaepipe.compute.device import count_visible_gpus
from vaepipe.datasets.registry import DATASETS
from vaepipe.storage.errors import run_stage
from vaepipe.study.jobs import Job, jobs
from vaepipe.study.patterns import HANDED_OVER, STAGES
from vaepipe.study.study import Study
from vaepipe.tools.check import add_options, merge_configs, read_study

__all__ = ["main", "merge_configs", "plan"]
COUNTED = tuple(stage for stage in STAGES if STAGES[stage].benchmark)
"""Stages that cost time: those with benchmarks."""
HEADER = ("stage", "jobs", "done", "to do", "s per job", "hours", "GPU hours", "GB")
PIXEL_BYTES = {"attack": 4, "attack_block": 4, "ball": 4, "measure": 1}
"""Bytes per row and pixel: distortions are float32, pictures uint8."""


@dataclass(frozen=True)
class Size:
    """The work of a job: ``rows`` of an attack (λ × pairs), ``nbytes`` of its arrays (None: not known)."""

    rows: int = 1
    nbytes: float | None = None


@dataclass
class StagePlan:
    """The jobs of one stage with what is known of them."""

    jobs: list[Job]
    todo: list[Job]
    seconds: dict[Job, float]
    nbytes: float
    all_bytes_known: bool
    datasets_without_time: list[str] = field(default_factory=list)

    @property
    def hours(self) -> float:
        return sum(self.seconds.get(job, 0) for job in self.todo) / 3600

    @property
    def all_hours_known(self) -> bool:
        return all(job in self.seconds for job in self.todo)


def size(study: Study, job: Job) -> Size:
    """Return the size of a job, as far as the configuration tells it."""
    if job.stage == "prepare":
        spec = study.settings[job.dataset]
        info = DATASETS[spec.kind]
        if spec.path is not None:  # files of the user's, which may be a part of the data set
            return Size()
        return Size(nbytes=info.count * math.prod(info.shape) * (1 if info.images else 4))
    if job.stage not in PIXEL_BYTES or job.cell is None:
        return Size()
    spec = study.settings[job.dataset]
    pairs = spec.attack.pairs if isinstance(spec.attack.pairs, int) else len(spec.attack.pairs)
    settings = 0
    if job.stage == "attack_block":
        settings = len(study.blocks(job.dataset)[job.block])
    if job.stage == "attack" or (job.stage == "measure" and job.loss in study.losses(job.cell)):
        settings += len(spec.attack.lambdas)
    if job.stage in ("ball", "measure") and job.loss in spec.ball.losses:
        settings += len(spec.ball.l2) + len(spec.ball.linf)
    rows = settings * pairs
    pixels = math.prod(DATASETS[spec.kind].shape)
    return Size(rows, rows * pixels * PIXEL_BYTES[job.stage])


def done(job: Job, folder: Path) -> bool:
    """Return whether all files of a job are in a study's folder."""
    return all((folder / path).exists() for path in job.outputs.values())


def read_benchmark(path: Path) -> dict[str, float] | None:
    """Return seconds (``s``) and memory in MB (``max_rss``) of a job's last run; None without such a file."""
    try:
        row = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])
        return {key: float(row[key]) for key in ("s", "max_rss")}
    except (OSError, ValueError, LookupError, TypeError):
        return None


def expected_seconds(
    listed: list[Job], sizes: dict[Job, Size], known: dict[Job, dict[str, float]]
) -> dict[Job, float]:
    """Return the seconds of jobs of one stage and data set.

    A job that ran before takes as long again; the others take the median time per row. Empty if none ran.
    """
    rates = [known[job]["s"] / sizes[job].rows for job in listed if job in known]
    if not rates:
        return {}
    rate = statistics.median(rates)
    return {job: known[job]["s"] if job in known else rate * sizes[job].rows for job in listed}


def expected_bytes(listed: list[Job], sizes: dict[Job, Size], folder: Path) -> float | None:
    """Return the bytes of all files of jobs of one stage and data set; None if nothing is known.

    Files that are missing are as large as the mean of those that are there or, without any, as their arrays.
    """
    finished = [job for job in listed if done(job, folder)]
    if finished:
        paths = [folder / path for job in finished for path in job.outputs.values()]
        return sum(path.stat().st_size for path in paths) / len(finished) * len(listed)
    arrays = [sizes[job].nbytes for job in listed]
    return None if None in arrays else sum(nbytes for nbytes in arrays if nbytes is not None)


def plan_stage(
    listed: list[Job], sizes: dict[Job, Size], known: dict[Job, dict[str, float]], folder: Path
) -> StagePlan:
    """Return the plan of the jobs of one stage."""
    stage = StagePlan(listed, [job for job in listed if not done(job, folder)], {}, 0, True)
    for dataset in dict.fromkeys(job.dataset for job in listed):
        part = [job for job in listed if job.dataset == dataset]
        seconds = expected_seconds(part, sizes, known)
        stage.seconds |= seconds
        if not seconds and set(part) & set(stage.todo):
            stage.datasets_without_time.append(dataset)
        nbytes = expected_bytes(part, sizes, folder)
        stage.nbytes += nbytes or 0
        stage.all_bytes_known &= nbytes is not None
    return stage


def plan_stages(
    study: Study, folder: Path
) -> tuple[dict[str, StagePlan], dict[Job, Size], dict[Job, dict[str, float]]]:
    """Return the plan of each stage that costs time, the sizes of its jobs, and what finished jobs took."""
    listed = [job for job in jobs(study) if job.stage in COUNTED]
    sizes = {job: size(study, job) for job in listed}
    known = {job: row for job in listed if (row := read_benchmark(folder / job.benchmark))}
    by_stage = {name: [job for job in listed if job.stage == name] for name in COUNTED}
    stages = {name: plan_stage(part, sizes, known, folder) for name, part in by_stage.items() if part}
    return stages, sizes, known


def plan(study: Study, folder: Path, gpu: bool) -> str:
    """Return the plan as text: a row per stage, their sum, the largest jobs, and what is not known."""
    stages, sizes, known = plan_stages(study, folder)
    lines = [HEADER, *(_line(name, stage, gpu) for name, stage in stages.items()), _total(stages, gpu)]
    return "\n".join([*_aligned(lines), "", *_largest(stages, sizes, known), *_remarks(stages, folder)])


def _line(name: str, stage: StagePlan, gpu: bool) -> tuple[str, ...]:
    """Return the row of a stage. `` + ?`` marks a lower bound, of which only a part is known."""
    more_hours = "" if stage.all_hours_known else " + ?"
    more_bytes = "" if stage.all_bytes_known else " + ?"
    on_gpu = STAGES[name].on_gpu
    counts = (len(stage.jobs), len(stage.jobs) - len(stage.todo), len(stage.todo))
    per_job = f"{statistics.fmean(stage.seconds.values()):.1f}" if stage.seconds else "?"
    hours = f"{stage.hours:.2f}{more_hours}"
    gpu_hours = f"{stage.hours if gpu and on_gpu else 0:.2f}{more_hours if on_gpu else ''}"
    return (name, *map(str, counts), per_job, hours, gpu_hours, f"{stage.nbytes / 1e9:.2f}{more_bytes}")


def _total(stages: dict[str, StagePlan], gpu: bool) -> tuple[str, ...]:
    total = StagePlan([], [], {}, 0, True)
    for stage in stages.values():
        total.jobs += stage.jobs
        total.todo += stage.todo
        total.seconds |= stage.seconds
        total.nbytes += stage.nbytes
        total.all_bytes_known &= stage.all_bytes_known
    more_hours = "" if total.all_hours_known else " + ?"
    more_bytes = "" if total.all_bytes_known else " + ?"
    counts = (len(total.jobs), len(total.jobs) - len(total.todo), len(total.todo))
    gpu_hours = sum(stage.hours for name, stage in stages.items() if gpu and STAGES[name].on_gpu)
    hours = (f"{total.hours:.2f}{more_hours}", f"{gpu_hours:.2f}{more_hours}")
    return ("total", *map(str, counts), "", *hours, f"{total.nbytes / 1e9:.2f}{more_bytes}")


def _aligned(lines: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines)]
    return [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]
        )
        for line in lines
    ]


def _largest(
    stages: dict[str, StagePlan], sizes: dict[Job, Size], known: dict[Job, dict[str, float]]
) -> list[str]:
    """Return lines about the longest job to do, the largest memory so far, and the largest attack."""
    lines = []
    expected = {
        job: stage.seconds[job] for stage in stages.values() for job in stage.todo if job in stage.seconds
    }
    if expected:
        job = max(expected, key=lambda job: expected[job])
        lines.append(f"longest job to do: {job.stage} {job.name}, {expected[job] / 60:.1f} min")
    measured = [job for job in known if known[job]["max_rss"] >= HANDED_OVER]
    if measured:
        job = max(measured, key=lambda job: known[job]["max_rss"])
        lines.append(f"most memory so far: {job.stage} {job.name}, {known[job]['max_rss'] / 1000:.2f} GB")
    if "attack" in stages:
        job = max(stages["attack"].jobs, key=lambda job: sizes[job].nbytes or 0)
        rows, megabytes = sizes[job].rows, (sizes[job].nbytes or 0) / 1e6
        lines.append(
            f"largest attack: {job.name}, {rows} rows (λ × pairs), {megabytes:.1f} MB before compression"
        )
    return lines


def _remarks(stages: dict[str, StagePlan], folder: Path) -> list[str]:
    lines = [
        "Hours are the sum over jobs; n jobs at a time take an n-th. "
        "Jobs are done if their files exist; `snakemake -n` lists outdated ones."
    ]
    unknown = [
        f"{name} {dataset}".strip()
        for name, stage in stages.items()
        for dataset in stage.datasets_without_time
    ]
    if unknown:
        lines.append(
            f"The time is not known for {', '.join(unknown)}: no such job has run in {folder.resolve()} yet. "
            "It is known after one job of each."
        )
    return lines


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="vaepipe plan", description="Print what a study will cost, without starting anything."
    )
    add_options(parser)
    parser.add_argument("--gpu", action="store_true", help="jobs will have GPUs that this machine has not")
    args = parser.parse_args(argv)
    study, unused = read_study(args.configfile, args.directory)
    for line in unused:
        print(f"config: {line}", file=sys.stderr)
    gpu = study.device == "cuda" or (study.device == "auto" and (args.gpu or count_visible_gpus() > 0))
    print(plan(study, args.directory, gpu))


if __name__ == "__main__":
    run_stage(main)
