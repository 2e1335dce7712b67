"""A study: its settings, its models, what each is attacked by, and the specs of their jobs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import ValidationError

from vaepipe.datasets.registry import DATASETS
from vaepipe.study import cells
from vaepipe.study.caveats import caveat
from vaepipe.study.cells import CELL, Cell
from vaepipe.study.mistakes import ConfigError
from vaepipe.study.settings import DatasetSettings, External, Plot, Section, Settings
from vaepipe.study.specs import (
    AttackSpec,
    BallSpec,
    EvaluateSpec,
    ExternalSpec,
    FigureSpec,
    MeasureSpec,
    ModelSpec,
    PrepareSpec,
    Spec,
    settings_of_others,
)
from vaepipe.study.validation import SECTIONS, Config, read_settings

S = TypeVar("S", bound=Spec)

MOST_ROWS = 4096
"""Rows of an attack that a GPU works on at once, at most; where memory runs out, they are halved."""
CACHED_PIXELS = 2**15
"""Pixels of a batch of rows, at most, on a CPU: a row has 20 vectors of pixels and more in the solver."""


class Study:
    """A study with a validated configuration.

    Attributes:
        names: its data sets.
        settings: by data set, all sections.
        external: models trained elsewhere, by name.
        plot: settings of the figures.
        cells: all models, at the end of their training.
        all_cells: these and their snapshots.

    Args:
        config: the merged content of config.yaml and its overlays.

    Raises:
        ConfigError: naming the first key that is wrong.
    """

    def __init__(self, config: Config):
        self._set_up(read_settings(config))

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Return the study whose `effective` configuration a file holds. The files that it names may be gone.

        Raises:
            ConfigError: the file is not readable.
        """
        try:
            settings = Settings.model_validate_json(Path(path).read_bytes())
        except (OSError, ValidationError) as error:
            raise ConfigError(f"{path}: not readable as JSON; delete it to have it made again") from error
        study = cls.__new__(cls)
        study._set_up(settings)
        return study

    def _set_up(self, settings: Settings) -> None:
        self._settings = settings
        self.names: list[str] = list(settings.study)
        self.device, self.gpu_jobs_per_device = settings.device, settings.gpu_jobs_per_device
        self.data_dir: str | None = settings.data_dir
        self.plot: Plot = settings.plot
        self.settings: dict[str, DatasetSettings] = settings.datasets
        self.external: dict[str, External] = settings.external
        self.cells: list[Cell] = []
        for name in self.names:
            self.cells += cells.cells(name, self.settings[name].grid)
            self.cells += cells.external(name, self.external)
        self.all_cells: list[Cell] = [
            kept for cell in self.cells for kept in (*cells.snapshots([cell], self._snapshots(cell)), cell)
        ]
        self._cells = {cell.name: cell for cell in self.all_cells}
        self._blocks = {
            name: cells.blocks(list(own.attack.lambdas), own.attack.lambdas_per_job)
            for name, own in self.settings.items()
        }

    def cell(self, wildcards: Mapping[str, str]) -> Cell:
        """Return the cell that a job's wildcards name, with its exact numbers."""
        return self._cells[CELL.format(**dict(wildcards))]

    def blocks(self, dataset: str) -> dict[str, list[float]]:
        """Return the values of λ of each job by the job's token; empty if one job has all."""
        return self._blocks[dataset]

    def losses(self, cell: Cell) -> list[str]:
        """Return the losses of the attacks on a model at all λ."""
        return self._attacked_by(cell, self.settings[cell.dataset].attack.losses)

    def attacks(self) -> list[tuple[Cell, str]]:
        """Return (cell, loss) of every attack at all λ."""
        return [(cell, loss) for cell in self.all_cells for loss in self.losses(cell)]

    def balls(self) -> list[tuple[Cell, str]]:
        """Return (cell, loss) of every attack of bounded size."""
        return [
            (cell, loss)
            for cell in self.all_cells
            for loss in self._attacked_by(cell, self.settings[cell.dataset].ball.losses)
        ]

    def _attacked_by(self, cell: Cell, losses: Iterable[str]) -> list[str]:
        """Return those of the losses that a model is attacked by; none for a snapshot, unless it is asked."""
        if cell.snapshot and not self.settings[cell.dataset].attack.snapshots:
            return []
        return cells.losses(cell, losses, self.external)

    def _snapshots(self, cell: Cell) -> tuple[int, ...]:
        """Return after how many steps of its training a model is kept, beside the end."""
        return () if cell.family in self.external else self.settings[cell.dataset].train.snapshots

    def source(self, cell: Cell, loss: str) -> Cell | None:
        """Return the model whose distortions are applied to another model, to check whether they transfer.

        It is the model at β = 1 with the same d_z, seed and snapshot, of the same family if there is one. For
        a model trained elsewhere it is the VAE with the nearest d_z.
        """
        if not self.settings[cell.dataset].checks.transfer:
            return None
        attacked = [
            c
            for c in self.all_cells
            if (c.dataset, c.snapshot) == (cell.dataset, cell.snapshot)
            and c != cell
            and loss in self.losses(c)
        ]
        if cell.family in self.external:
            candidates = [c for c in attacked if c.family == "vae"]
            return min(candidates, key=lambda c: (abs(c.d_z - cell.d_z), c.seed), default=None)
        candidates = [c for c in attacked if (c.d_z, c.seed, c.beta) == (cell.d_z, cell.seed, 1)]
        return min(candidates, key=lambda c: c.family != cell.family, default=None)

    def effective(self) -> dict[str, Any]:
        """Return the whole configuration with every default; it is itself a configuration."""
        return self._settings.model_dump(mode="json", exclude=set(SECTIONS))

    # --- what decides the numbers of a job, apart from its input files and its code ---

    def prepare_spec(self, dataset: str) -> PrepareSpec:
        own = self.settings[dataset]
        return _take(PrepareSpec, own, dataset=dataset, options=own.options)

    def model_spec(self, cell: Cell) -> ModelSpec | ExternalSpec:
        if cell.family in self.external:
            options = self.external[cell.family].model_dump(exclude={"losses"})
            return ExternalSpec.model_validate({**vars(cell), "external": options})
        own, others = self.settings[cell.dataset], set(settings_of_others(cell.family))
        model = own.model.model_dump(exclude=others)
        train = own.train.model_dump(exclude=others | {"threads"})
        return ModelSpec.model_validate({**vars(cell), "model": model, "train": train})

    def evaluate_spec(self, cell: Cell) -> EvaluateSpec:
        return _take(EvaluateSpec, self.settings[cell.dataset].evaluate)

    def attack_spec(self, cell: Cell, loss: str, block: str | None = None) -> AttackSpec:
        """Return the spec of an attack at all λ, or at those of one block."""
        own = self.settings[cell.dataset].attack
        lambdas = own.lambdas if block is None else self.blocks(cell.dataset)[block]
        effort = own.effort if block is None else "default"  # rows on their own do not depend on it
        rows = self.batch_size(cell.dataset)
        return _take(AttackSpec, own, loss=loss, lambdas=lambdas, effort=effort, batch_size=rows)

    def ball_spec(self, cell: Cell, loss: str) -> BallSpec:
        own = self.settings[cell.dataset]
        return _take(BallSpec, own.ball, own.attack, loss=loss, batch_size=self.batch_size(cell.dataset))

    def measure_spec(self, cell: Cell, loss: str) -> MeasureSpec:
        own = self.settings[cell.dataset]
        rows = self.batch_size(cell.dataset)
        return _take(MeasureSpec, own.attack, loss=loss, checks=own.checks, batch_size=rows)

    def batch_size(self, dataset: str) -> int:
        """Return the rows (λ, pair) per batch of the network in attacks on a data set.

        `auto` on a CPU: as many as let the solver's state stay in its cache, and 64 at least.
        """
        own = self.settings[dataset]
        if own.attack.batch_size != "auto":
            return own.attack.batch_size
        if self.device == "cuda":
            pairs = own.attack.pairs
            count = pairs if isinstance(pairs, int) else len(pairs)
            return min(MOST_ROWS, count * len(own.attack.lambdas))
        fitting = CACHED_PIXELS // math.prod(DATASETS[own.kind].shape)
        return next(rows for rows in (256, 128, 64) if rows <= max(fitting, 64))

    def caveats(self) -> dict[str, str]:
        """Return data set → caveat, where models reproduce published code that is not correct."""
        texts = [(cell.dataset, caveat(self.model_spec(cell).model_dump())) for cell in self.cells]
        return {dataset: text for dataset, text in texts if text}

    def figure_spec(self, shown: Iterable[Cell] = (), datasets: Iterable[str] | None = None) -> FigureSpec:
        """Return the spec of a figure.

        Args:
            shown: models whose files it reads, in this order.
            datasets: the data sets that it is about; None is all of the study.
        """
        names = self.names if datasets is None else sorted(set(datasets))
        things = {name: "images" if DATASETS[self.settings[name].kind].images else "points" for name in names}
        caveats = {name: text for name, text in self.caveats().items() if name in names}
        return FigureSpec(plot=self.plot, cells=tuple(shown), things=things, caveats=caveats)


def _take(spec: type[S], *sections: Section, **given: Any) -> S:
    """Return a spec whose keys are given, or else taken from the first section that has them."""
    for key in spec.model_fields:
        for section in sections:
            if key not in given and key in type(section).model_fields:
                given[key] = getattr(section, key)
    return spec.model_validate(given)
