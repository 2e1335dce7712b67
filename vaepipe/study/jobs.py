"""The list of a study's jobs: for each stage the files that it writes, its log and its benchmark.

The rules take their patterns from `STAGES`; `vaepipe.tools.plan` and the stages that read many files take
them from `jobs`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from vaepipe.storage.digests import spec_digest
from vaepipe.storage.errors import DataError
from vaepipe.study import drawings
from vaepipe.study.cells import CELL, Cell
from vaepipe.study.mistakes import ConfigError

if TYPE_CHECKING:
    from vaepipe.study.study import Study

FIGURE_SUFFIXES = ("pdf", "csv", "png", "md", "txt")
"""The picture twice, the numbers it shows, and its caption in Markdown and in plain letters."""
HANDED_OVER = 100
"""A benchmark file with less memory than this, in MB, is that of a job that `vaepipe.compute.job_server` did.
It has the job's time, but not its memory and processor time: Snakemake watched the process that waits."""


@dataclass(frozen=True)
class Stage:
    """One rule of the workflow. All paths are patterns with wildcards, relative to the study's folder."""

    outputs: dict[str, str]
    """Name → path of each file that a job writes."""
    log: str
    benchmark: str = ""
    """Where Snakemake notes time and memory; empty for stages that cost little."""
    on_gpu: bool = False
    """Whether a job uses a GPU if there is one."""
    kind: str = ""
    """Kind of the HDF5 file that is the stage's first output; empty for other files."""


def _of_model(name: str, outputs: dict[str, str], on_gpu: bool = True, kind: str = "") -> Stage:
    """Return a stage that writes files beside a model's weights."""
    outputs = {key: f"results/models/{CELL}/{file}" for key, file in outputs.items()}
    return Stage(
        outputs, f"logs/models/{CELL}/{name}.log", f"benchmarks/models/{CELL}/{name}.jsonl", on_gpu, kind
    )


def _of_loss(folder: str, kind: str, name: str = "{loss}") -> Stage:
    """Return a stage that writes one HDF5 file for each model and loss."""
    path = f"{folder}/{CELL}/{name}"
    return Stage({kind: f"results/{path}.h5"}, f"logs/{path}.log", f"benchmarks/{path}.jsonl", True, kind)


def _of_figure(name: str) -> Stage:
    """Return a stage that draws a figure and writes its numbers."""
    return Stage(
        {end: f"results/figures/{name}.{end}" for end in FIGURE_SUFFIXES}, f"logs/figures/{name}.log"
    )


def _tables() -> dict[str, str]:
    names = dict.fromkeys(("images", "dimensions", "attacks"), "parquet")
    names |= dict.fromkeys(("models", "robustness", "ball", "pairs"), "csv")
    names |= dict.fromkeys(("labels", "purifiers", "columns"), "csv")
    return {name: f"results/tables/{name}.{end}" for name, end in names.items()} | {
        "sums": "results/tables/SHA256SUMS"
    }


REPORT_PAGES = ("index", "answer", "claims", "configuration", "versions", "times")

STAGES: dict[str, Stage] = {
    "config": Stage({"config": "results/config.json"}, "logs/config.log"),
    "prepare": Stage(
        {"data": "results/data/{dataset}.h5"},
        "logs/data/{dataset}.log",
        "benchmarks/data/{dataset}.jsonl",
        kind="data",
    ),
    "train": _of_model(
        "train",
        {"model": "model.safetensors", "history": "history.csv", "snapshots": "snapshots.safetensors"},
    ),
    "snapshot": _of_model("snapshot", {"model": "model.safetensors"}, on_gpu=False),
    "adopt": _of_model("adopt", {"model": "model.safetensors"}, on_gpu=False),
    "evaluate": _of_model("evaluate", {"evaluation": "evaluation.h5"}, kind="evaluation"),
    "attack_block": _of_loss("attacks", "attack-block", "{loss}/{block}"),
    "attack": _of_loss("attacks", "attack"),
    "ball": _of_loss("balls", "ball"),
    "measure": _of_loss("measures", "measure"),
    "collect": Stage(_tables(), "logs/tables/collect.log", "benchmarks/tables/collect.jsonl"),
    "plot": _of_figure("{figure}"),
    "plot_swissroll": _of_figure("swissroll"),
    "plot_models": _of_figure("{pictures}/{dataset}"),
    "plot_montage": _of_figure("montage/{dataset}"),
    "headline": Stage({"headline": "results/headline.txt"}, "logs/headline.log"),
    "claims": Stage(
        {"csv": "results/tables/claims.csv", "md": "results/tables/claims.md", "txt": "results/claims.txt"},
        "logs/claims.log",
    ),
    "explorer": Stage(
        {"explorer": "results/explorer.html"}, "logs/pages/explorer.log", "benchmarks/pages/explorer.jsonl"
    ),
    "report_pages": Stage(
        {name: f"results/report/{name}.html" for name in REPORT_PAGES}, "logs/pages/report.log"
    ),
}
"""All stages, in the order in which the workflow runs them."""

BEFORE_TABLES = (
    "prepare",
    "train",
    "snapshot",
    "adopt",
    "evaluate",
    "attack_block",
    "attack",
    "ball",
    "measure",
)
"""Stages whose files tables and pages are made from."""


@dataclass(frozen=True)
class Job:
    """One job: a stage and the values of its wildcards."""

    stage: str
    dataset: str = ""
    cell: Cell | None = None
    loss: str = ""
    block: str = ""
    figure: str = ""

    @cached_property
    def _wildcards(self) -> dict[str, str]:
        own = {"dataset": self.dataset, "loss": self.loss, "block": self.block, "figure": self.figure}
        own["pictures"] = self.figure
        return own | (self.cell.wildcards if self.cell else {})

    @property
    def model(self) -> Cell:
        """The model of a job that works on one."""
        if self.cell is None:
            raise LookupError(f"{self.stage} is no stage of a model")
        return self.cell

    @property
    def name(self) -> str:
        """The wildcards as a person reads them, such as ``digits/vae/beta~1/dz~4/seed~0/latent-kl``."""
        parts = (self.cell.name if self.cell else self.dataset, self.loss, self.block, self.figure)
        return "/".join(part for part in parts if part)

    @property
    def outputs(self) -> dict[str, str]:
        """Name → path of each file that the job writes."""
        return {
            name: pattern.format(**self._wildcards) for name, pattern in STAGES[self.stage].outputs.items()
        }

    @property
    def output(self) -> str:
        """Path of the first output."""
        return next(iter(self.outputs.values()))

    @property
    def log(self) -> str:
        return STAGES[self.stage].log.format(**self._wildcards)

    @property
    def benchmark(self) -> str:
        """Path of the benchmark file; empty if the stage has none."""
        return STAGES[self.stage].benchmark.format(**self._wildcards)


def output(stage: str, cell: Cell, loss: str = "", block: str = "") -> str:
    """Return the path of the first output of a stage for one model."""
    return Job(stage, cell.dataset, cell, loss, block).output


def snapshots(cell: Cell) -> str:
    """Return the path of the file with all snapshots of a model's training."""
    return Job("train", cell.dataset, replace(cell, snapshot=0)).outputs["snapshots"]


def weights(cell: Cell) -> str:
    """Return the path of a model's weights, trained or adopted."""
    return output("train", cell)


def jobs(study: Study) -> list[Job]:
    """Return all jobs of a study, each data set's and model's together."""
    listed = [Job("config"), *(Job("prepare", name) for name in study.names)]
    attacks, balls = set(study.attacks()), set(study.balls())
    losses = list(dict.fromkeys(loss for _, loss in study.attacks() + study.balls()))
    for cell in study.all_cells:
        made = "adopt" if cell.family in study.external else "snapshot" if cell.snapshot else "train"
        listed += [Job(made, cell.dataset, cell), Job("evaluate", cell.dataset, cell)]
        for loss in losses:
            listed += _attack_jobs(study, cell, loss, (cell, loss) in attacks, (cell, loss) in balls)
    listed.append(Job("collect"))
    for figure in drawings.figure_names(study):
        listed.append(_figure_job(study, figure))
    listed += [Job("headline"), Job("claims"), Job("report_pages")]
    return listed + ([Job("explorer")] if attacks else [])


def _attack_jobs(study: Study, cell: Cell, loss: str, attacked: bool, bounded: bool) -> list[Job]:
    """Return the jobs of one model and loss; ``attacked``: at all λ, ``bounded``: in balls."""
    listed = []
    if attacked:
        listed += [
            Job("attack_block", cell.dataset, cell, loss, block) for block in study.blocks(cell.dataset)
        ]
        listed.append(Job("attack", cell.dataset, cell, loss))
    if bounded:
        listed.append(Job("ball", cell.dataset, cell, loss))
    if attacked or bounded:
        listed.append(Job("measure", cell.dataset, cell, loss))
    return listed


def _figure_job(study: Study, figure: str) -> Job:
    name, _, dataset = figure.partition("/")
    if name == "montage":
        return Job("plot_montage", dataset)
    if name == "swissroll":
        return Job("plot_swissroll", drawings.swissroll_dataset(study))
    return Job("plot_models", dataset, figure=name) if dataset else Job("plot", figure=name)


def of_stage(listed: Iterable[Job], *stages: str) -> list[Job]:
    """Return the jobs of the given stages."""
    return [job for job in listed if job.stage in stages]


def paths(listed: Iterable[Job], *stages: str) -> list[str]:
    """Return the first output of each job of the given stages."""
    return [job.output for job in of_stage(listed, *stages)]


def digest(listed: Iterable[Job]) -> str:
    """Return a digest of the list of the files that tables and pages are made from."""
    return spec_digest([job.outputs for job in of_stage(listed, *BEFORE_TABLES)])


def read_jobs(config: str | Path, expected: str = "") -> list[Job]:
    """Return the jobs of the study whose effective configuration a file holds.

    Args:
        config: results/config.json.
        expected: their `digest`, if it is known.

    Raises:
        DataError: the file is not readable, or holds another study.
    """
    from vaepipe.study.study import Study

    try:
        listed = jobs(Study.read(config))
    except ConfigError as error:
        raise DataError(str(error)) from error
    if expected and digest(listed) != expected:
        raise DataError(f"{config}: holds another study than the workflow; delete it to have it made again")
    return listed
