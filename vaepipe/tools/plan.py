"""What a study will cost, without starting anything: jobs, what is done, hours, disk, the biggest job.

    python -m vaepipe.tools.plan --configfile configs/seed.yaml --directory my-study

Hours are those that jobs of the same stage and data set took before, from their benchmark files; disk is what such files took
before, or what their arrays hold.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
from dataclasses import dataclass
from pathlib import Path

import yaml
from snakemake.utils import update_config

from vaepipe.compute.device import count_visible_gpus
from vaepipe.datasets.registry import DATASETS
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.study.config import ConfigError, Study

ROOT = Path(__file__).parent.parent.parent
STAGES = ("prepare", "train", "evaluate", "attack_block", "attack", "check", "ball", "collect")
ON_GPU = ("train", "evaluate", "attack_block", "attack", "check", "ball")
HEADER = ("stage", "jobs", "done", "to do", "s per job", "hours", "GPU hours", "GB")


@dataclass(frozen=True)
class Job:
    """One job of the study. ``rows``: of an attack, λ × pairs; ``nbytes``: of its arrays before compression, None: not known."""

    stage: str
    dataset: str
    name: str
    outputs: tuple[str, ...]
    benchmark: str
    rows: int = 1
    nbytes: float | None = None

    def done(self, folder: Path) -> bool:
        return all((folder / path).exists() for path in self.outputs)


def jobs(study: Study) -> list[Job]:
    """The jobs that cost something, that is all but figures and headline."""
    found = []
    for name in study.names:
        kind = study.specs[name]["prepare"]["kind"]
        count, pixels = described(kind)
        size = count * pixels * (1 if DATASETS[kind].images else 4)
        found.append(Job("prepare", name, name, (f"results/data/{name}.h5",), f"benchmarks/data/{name}.jsonl", 1, size))
    for cell in study.cells:
        weights, benchmark = (cell.model("model.safetensors"), cell.model("history.csv")), f"benchmarks/models/{cell.name}"
        if cell.family not in study.external:
            found.append(Job("train", cell.dataset, cell.name, weights, f"{benchmark}/train.jsonl"))
        found.append(Job("evaluate", cell.dataset, cell.name, (cell.model("evaluation.h5"),), f"{benchmark}/evaluate.jsonl"))
    for cell, loss in study.attacks():
        attack = study.specs[cell.dataset]["attack"]
        parts = {f"{loss}/{block}": (cell.block(loss, block), len(some)) for block, some in study.blocks(cell.dataset).items()}
        for name, (path, count) in (parts | {loss: (cell.attack(loss), len(attack["lambdas"]))}).items():
            stage, rows = (
                "attack" if name == loss else "attack_block",
                count * _count(attack["pairs"]),
            )
            # the distortion in float32 and, where it is whole, a picture in uint8
            size = rows * described(study.specs[cell.dataset]["prepare"]["kind"])[1] * (5 if stage == "attack" else 4)
            its = f"{cell.name}/{name}"
            found.append(Job(stage, cell.dataset, its, (path,), f"benchmarks/attacks/{its}.jsonl", rows, size))
        if study.checked(cell.dataset):
            its = f"{cell.name}/{loss}"
            found.append(Job("check", cell.dataset, its, (cell.check(loss),), f"benchmarks/checks/{its}.jsonl"))
    for cell, loss in study.balls():
        spec = study.ball_spec(cell, loss)
        rows = (len(spec["l2"]) + len(spec["linf"])) * _count(spec["pairs"])
        size, its = rows * described(study.specs[cell.dataset]["prepare"]["kind"])[1] * 5, f"{cell.name}/{loss}"
        found.append(Job("ball", cell.dataset, its, (cell.ball(loss),), f"benchmarks/balls/{its}.jsonl", rows, size))
    names = ("models.csv", "images.parquet", "attacks.parquet", "robustness.csv", "ball.csv", "columns.csv")
    tables = tuple(f"results/tables/{name}" for name in names)
    return [*found, Job("collect", "", "tables", tables, "benchmarks/tables/collect.jsonl")]


def _count(pairs: int | list) -> int:
    return pairs if isinstance(pairs, int) else len(pairs)


def described(kind: str) -> tuple[int, int]:
    """(images, numbers per image) of a data set, as its registry entry says, which is there before the data are; a user's
    own files are not known, but for the size to which images are scaled."""
    about = DATASETS[kind].about
    shape = re.search(r"\d+(?:×\d+)+|(\d+)-D", about)
    sides = shape[1] or shape[0]
    return int(about.split()[0].replace(",", "")) if about[0].isdigit() else 0, math.prod(map(int, sides.split("×")))


def benchmark(path: Path) -> dict | None:
    """Seconds (``s``) and memory in MB (``max_rss``) of a job's last run, if there was one."""
    try:
        row = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])
        return {key: float(row[key]) for key in ("s", "max_rss")}
    except (OSError, ValueError, LookupError, TypeError):
        return None


def seconds(of: list[Job], known: dict[Job, dict]) -> dict[Job, float]:
    """Expected seconds of jobs of one stage and data set: each its own last time, or the median of the others per row."""
    rates = [known[job]["s"] / job.rows for job in of if job in known]
    return {job: known[job]["s"] if job in known else statistics.median(rates) * job.rows for job in of} if rates else {}


def nbytes(of: list[Job], folder: Path) -> float | None:
    """Of the files of jobs of one stage and data set: what is there, the others like its mean, or like their arrays."""
    there = [sum((folder / path).stat().st_size for path in job.outputs) for job in of if job.done(folder)]
    if there:
        return statistics.fmean(there) * len(of)
    return None if of[0].nbytes is None else sum(job.nbytes for job in of)


def plan(study: Study, folder: Path, gpu: bool) -> str:
    """The plan as text: a row per stage, the sum, the biggest jobs, and what is not known."""
    every = jobs(study)
    known = {job: row for job in every if (row := benchmark(folder / job.benchmark))}
    lines, sums, unknown, expected = [HEADER], [0] * 6, [], {}
    for stage in STAGES:
        parts = {name: [j for j in every if (j.stage, j.dataset) == (stage, name)] for name in (*study.names, "")}
        parts = {name: part for name, part in parts.items() if part}
        times = {job: s for part in parts.values() for job, s in seconds(part, known).items()}
        sizes = [nbytes(part, folder) for part in parts.values()]
        of = [job for part in parts.values() for job in part]
        if not of:
            continue
        todo = [job for job in of if not job.done(folder)]
        expected |= {job: times[job] for job in todo if job in times}
        unknown += [f"{stage} {name}".strip() for name, part in parts.items() if part[0] not in times and set(part) & set(todo)]
        hours = sum(times.get(job, 0) for job in todo) / 3600
        row = [
            len(of),
            len(of) - len(todo),
            len(todo),
            hours,
            hours if gpu and stage in ON_GPU else 0,
            sum(filter(None, sizes)) / 1e9,
        ]
        sums = [a + b for a, b in zip(sums, row)]
        each = f"{statistics.fmean(times.values()):.1f}" if times else "?"
        hours_unknown = any(job not in times for job in todo)
        lines.append(_line(stage, row, each, hours_unknown, None in sizes))
    lines.append(_line("total", sums, "", bool(unknown), any(line[-1].endswith("?") for line in lines[1:])))
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADER))]
    text = ["  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))) for line in lines]
    return "\n".join([*text, "", *_biggest(every, known, expected), *_remarks(unknown, folder)])


def _line(stage: str, row: list, each: str, hours_unknown: bool, size_unknown: bool) -> tuple[str, ...]:
    """Where only a part is known it is a lower bound, marked by a question mark."""
    hours, on_gpu, size = (f"{value:.2f}" for value in row[3:])
    more = " + ?" if hours_unknown else ""
    return (stage, *map(str, row[:3]), each, hours + more, on_gpu + (more if stage in (*ON_GPU, "total") else ""),
            size + (" + ?" if size_unknown else ""))  # fmt: skip


def _biggest(every: list[Job], known: dict[Job, dict], expected: dict[Job, float]) -> list[str]:
    lines = []
    if expected:
        job = max(expected, key=expected.get)
        lines.append(f"longest job to do: {job.stage} {job.name}, {expected[job] / 60:.1f} min")
    if known:
        job = max(known, key=lambda j: known[j]["max_rss"])
        lines.append(f"most memory so far: {job.stage} {job.name}, {known[job]['max_rss'] / 1000:.2f} GB")
    if attacks := [job for job in every if job.stage == "attack"]:
        job = max(attacks, key=lambda j: j.nbytes)
        lines.append(f"largest attack: {job.name}, {job.rows} rows (λ × pairs), {job.nbytes / 1e6:.1f} MB before compression")
    return lines


def _remarks(unknown: list[str], folder: Path) -> list[str]:
    lines = [
        "hours: one job after another; n at a time take an n-th. Done: its files are there; `snakemake -n` knows what is outdated"
    ]
    if unknown:
        lines.append(
            f"no time is known of {', '.join(unknown)}: no earlier run left benchmarks in {folder.resolve()}; run one job of each"
        )
    return lines


def merged(files: list[Path]) -> dict:
    """config.yaml with overlays, as `snakemake --configfile` merges them: mappings are merged, lists replaced."""
    config: dict = {}
    for path in [ROOT / "config.yaml", *files]:
        try:
            layer = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise DataError(f"--configfile {path}: not a readable YAML file ({str(error).splitlines()[0]})") from error
        if not isinstance(layer, (dict, type(None))):
            raise DataError(f"--configfile {path}: expected a mapping, found {layer!r}")
        update_config(config, layer or {})
    return config


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m vaepipe.tools.plan", description=__doc__.splitlines()[0])
    parser.add_argument("--configfile", nargs="*", type=Path, default=[], help="overlays of config.yaml, as for snakemake")
    parser.add_argument("--directory", type=Path, default=Path(), help="folder of the study (default: this one)")
    parser.add_argument("--gpu", action="store_true", help="the jobs will find GPUs, though none is here (a cluster)")
    args = parser.parse_args(argv)
    try:
        study = Study(merged(args.configfile))
    except ConfigError as error:
        raise DataError(f"config: {error}") from error
    gpu = study.device == "cuda" or (study.device == "auto" and (args.gpu or count_visible_gpus() > 0))
    print(plan(study, args.directory, gpu))


if __name__ == "__main__":
    run_stage(main)
