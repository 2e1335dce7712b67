"""The cells of a study's grid: the models, the tokens that name them in paths, and the blocks of λ."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vaepipe.attacks.loss import find_loss
from vaepipe.models.family import find_family

if TYPE_CHECKING:
    from vaepipe.study.settings import External, Grid

CELL = "{dataset}/{family}/beta~{beta}/dz~{d_z}/seed~{seed}"


def token(value: float) -> str:
    """Return a number as paths have it: eight significant digits, no trailing zeros (1.0 → ``1``)."""
    return format(float(value), ".8g")


@dataclass(frozen=True)
class Cell:
    """One model: data set, family, β, d_z and training seed.

    ``snapshot``: the number of steps after which its weights were kept; 0 at the end of the training.
    """

    dataset: str
    family: str
    beta: float
    d_z: int
    seed: int
    snapshot: int = 0

    @property
    def wildcards(self) -> dict[str, str]:
        """The values of the rules' wildcards."""
        return {
            "dataset": self.dataset,
            "family": self.family,
            "beta": token(self.beta),
            "d_z": str(self.d_z),
            # one more folder, so that all rules apply to snapshots as they are
            "seed": f"{self.seed}/snapshot~{self.snapshot}" if self.snapshot else str(self.seed),
        }

    @property
    def name(self) -> str:
        """The part of all paths that names the model."""
        return CELL.format(**self.wildcards)


def cells(dataset: str, grid: Grid) -> list[Cell]:
    """Return all models of a data set, each once.

    A family with one fixed β has one model for each d_z and seed. At β = 1 all families that share it are
    the model ``vae``.
    """
    models = []
    for name, d_z, seed in itertools.product(grid.families, grid.d_z, grid.seeds):
        family = find_family(name)
        betas = grid.betas if family.fixed_beta is None else (family.fixed_beta,)
        for beta in betas:
            shared = family.shares_beta_one and beta == 1
            models.append(Cell(dataset, "vae" if shared else name, float(beta), d_z, seed))
    return list(dict.fromkeys(models))


def snapshots(trained: Iterable[Cell], steps: Iterable[int]) -> list[Cell]:
    """Return the snapshots of trained models after each number of steps."""
    return [replace(cell, snapshot=step) for cell in trained for step in sorted(steps)]


def external(dataset: str, models: Mapping[str, External]) -> list[Cell]:
    """Return the cells of models trained elsewhere: family is the name of the model, β and seed are 0."""
    own = {name: options for name, options in models.items() if options.dataset == dataset}
    return [Cell(dataset, name, 0.0, options.d_z, 0) for name, options in own.items()]


def losses(cell: Cell, wanted: Iterable[str], models: Mapping[str, External]) -> list[str]:
    """Return the losses among ``wanted`` that the model is attacked by.

    A model whose posterior has no width is not attacked by losses that need one. A model trained elsewhere,
    among ``models``, may name its own losses.
    """
    if cell.family in models:
        allowed = models[cell.family].losses
        return [loss for loss in wanted if allowed == "all" or loss in allowed]
    has_width = find_family(cell.family).has_width
    return [loss for loss in wanted if has_width or not find_loss(loss).needs_width]


def blocks(values: list[float], per_job: int | str) -> dict[str, list[float]]:
    """Return the λ of each job by a token that depends on these λ only; empty if one job has them all."""
    if per_job == "all":
        return {}
    step = int(per_job)
    parts = [values[i : i + step] for i in range(0, len(values), step)]
    return {"lambda~" + "..".join(dict.fromkeys((token(part[0]), token(part[-1])))): part for part in parts}


def clashes(values: list[float]) -> list[str]:
    """Return the tokens that more than one of the values has."""
    tokens = [token(value) for value in values]
    return sorted({t for t in tokens if tokens.count(t) > 1})


def constraint(values: Iterable[object]) -> str:
    """Return a regular expression that matches exactly the given tokens."""
    return "|".join(re.escape(str(value)) for value in dict.fromkeys(values)) or "(?!)"
