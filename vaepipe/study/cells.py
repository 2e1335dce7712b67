"""The cells of a study's grid: the models, the tokens that name them in paths, and the blocks of λ."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vaepipe.attacks.loss import find_loss
from vaepipe.models.family import find_family

CELL = "{dataset}/{family}/beta~{beta}/dz~{d_z}/seed~{seed}"


def token(value: float) -> str:
    """Return a number as paths have it: six significant digits, no trailing zeros (1.0 → ``1``)."""
    return format(float(value), ".6g")


@dataclass(frozen=True)
class Cell:
    """One model: data set, family, β, d_z and training seed."""

    dataset: str
    family: str
    beta: float
    d_z: int
    seed: int

    @property
    def wildcards(self) -> dict[str, str]:
        """The values of the rules' wildcards."""
        return {
            "dataset": self.dataset,
            "family": self.family,
            "beta": token(self.beta),
            "d_z": str(self.d_z),
            "seed": str(self.seed),
        }

    @property
    def name(self) -> str:
        """The part of all paths that names the model."""
        return CELL.format(**self.wildcards)


def cells(dataset: str, grid: Any) -> list[Cell]:
    """Return all models of a data set, each once.

    A family with one fixed β has one model for each d_z and seed. At β = 1 all families that share it are the
    model ``vae``.

    Args:
        grid: the config's section ``grid``.
    """
    grid = grid if isinstance(grid, dict) else vars(grid)
    models = []
    for name, d_z, seed in itertools.product(grid["families"], grid["d_z"], grid["seeds"]):
        family = find_family(name)
        for beta in grid["betas"] if family.uses_beta else [family.fixed_beta]:
            shared = family.shares_beta_one and beta == 1
            models.append(Cell(dataset, "vae" if shared else name, float(beta), d_z, seed))
    return list(dict.fromkeys(models))


def external(dataset: str, models: dict[str, Any]) -> list[Cell]:
    """Return the cells of models trained elsewhere: the family is the model's name, β and the seed are 0.

    Args:
        models: the config's section ``external``.
    """
    return [
        Cell(dataset, name, 0.0, _get(options, "d_z"), 0)
        for name, options in models.items()
        if _get(options, "dataset") == dataset
    ]


def losses(cell: Cell, wanted: list[str], models: dict[str, Any]) -> list[str]:
    """Return the losses among ``wanted`` that the model is attacked by.

    A model whose posterior has no width is not attacked by losses that need one. A model trained elsewhere
    may name its own.

    Args:
        models: the config's section ``external``.
    """
    if cell.family in models:
        allowed = _get(models[cell.family], "losses") or "all"
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


def _get(options: Any, key: str) -> Any:
    """Return a setting of a typed section or of a mapping; None if it has none."""
    return options.get(key) if isinstance(options, dict) else getattr(options, key, None)
