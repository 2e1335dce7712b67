"""The list of a study's jobs: for each stage the files that it writes, its log and its benchmark.

`vaepipe.tools.plan`, `vaepipe.tools.status` and the stages that read many files ask here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from vaepipe.storage.digests import spec_digest
from vaepipe.storage.errors import DataError
from vaepipe.study import drawings
from vaepipe.study.cells import Cell
from vaepipe.study.mistakes import ConfigError
from vaepipe.study.patterns import BEFORE_TABLES, STAGES
from vaepipe.study.study import Study


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
    try:
        listed = jobs(Study.read(config))
    except ConfigError as error:
        raise DataError(str(error)) from error
    if expected and digest(listed) != expected:
        raise DataError(f"{config}: holds another study than the workflow; delete it to have it made again")
    return listed
