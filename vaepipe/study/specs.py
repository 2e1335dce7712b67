"""Job specs: what a job gets on its command line, as JSON.

A spec holds all that decides the numbers of a job, apart from its input files and its code. It does not hold
numbers of threads, the partition of the work into jobs, or the other losses.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Self

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from vaepipe.models.family import find_family
from vaepipe.models.registry import FAMILIES
from vaepipe.storage.errors import DataError
from vaepipe.study.cells import Cell
from vaepipe.study.settings import Attack, Ball, Checks, Evaluate, ExternalOptions, Model, Plot, TrainOptions
from vaepipe.study.types import (
    Count,
    Effort,
    LambdaValues,
    LossName,
    Natural,
    Pairs,
    Positive,
    Precision,
    Radii,
    Section,
    Solver,
)

ATTACK, BALL = Attack(), Ball()  # their values are the defaults here, too


MAX_MESSAGE_LENGTH = 1000


def first_mistake(error: ValidationError) -> str:
    """Return the key, what is expected and the value of the first mistake, in one line."""
    mistake = error.errors(include_url=False)[0]
    # names of the types in a union are no part of the key
    parts = [str(part) for part in mistake["loc"] if str(part).isidentifier() or isinstance(part, int)]
    key = ".".join(parts) + ": " if parts else ""
    value = "" if mistake["type"] in ("missing", "json_invalid") else f", got {mistake['input']!r}"
    return f"{key}{mistake['msg']}{value}"


class Spec(Section):
    """A job's specification. It reads and writes JSON with sorted keys."""

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the spec that a command line gives.

        Raises:
            DataError: one line that names the first key that is wrong.
        """
        try:
            return cls.model_validate_json(text, strict=True)
        except ValidationError as error:
            raise DataError(f"--spec: {first_mistake(error)}"[:MAX_MESSAGE_LENGTH]) from error

    def to_json(self) -> str:
        """Return the spec as a command line takes it."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)


class CellSpec(Spec):
    """A spec that names a cell of the grid."""

    dataset: str = "digits"
    family: str = "vae"
    beta: float = 1
    d_z: Count = 4
    seed: Natural = 0
    snapshot: Natural = 0

    @property
    def cell(self) -> Cell:
        """The cell that the spec names."""
        return Cell(self.dataset, self.family, self.beta, self.d_z, self.seed, self.snapshot)


class PrepareSpec(Spec):
    """The source of a data set: its kind, the user's file or folder, and the options of that kind."""

    dataset: str
    kind: str
    path: str | None = None
    checksum: str | None = None
    options: dict[str, int | str | None] = Field(default={})

    @model_validator(mode="before")
    @classmethod
    def kind_is_name(cls, given: Any) -> Any:
        """A data set without a kind is of the kind of its name."""
        return (
            {"kind": given["dataset"], **given} if isinstance(given, dict) and "dataset" in given else given
        )


class ModelSpec(CellSpec):
    """All that decides the weights of a trained model, without settings that only other families read."""

    model: Model = Model()
    train: TrainOptions = TrainOptions()

    @model_serializer(mode="wrap")
    def as_family_reads(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        others = settings_of_others(self.family)
        data = handler(self)
        for section in ("model", "train"):
            data[section] = {key: value for key, value in data[section].items() if key not in others}
        return data


class ExternalSpec(CellSpec):
    """A model that was trained elsewhere."""

    external: ExternalOptions


class EvaluateSpec(Evaluate, Spec):
    """All that decides the evaluation of a model: the section `evaluate`."""


class AttackSpec(Spec):
    """All that decides the rows of an attack at the given λ."""

    loss: LossName = ATTACK.losses[0]
    lambdas: LambdaValues = ATTACK.lambdas
    pairs: Pairs = ATTACK.pairs
    pair_seed: Natural = ATTACK.pair_seed
    draws: Count = ATTACK.draws
    solver: Solver = ATTACK.solver
    effort: Effort = ATTACK.effort
    precision: Precision = ATTACK.precision
    max_iterations: Count = ATTACK.max_iterations
    tolerance: Positive = ATTACK.tolerance
    batch_size: Count = 64


class BallSpec(Spec):
    """All that decides an attack of bounded size."""

    loss: LossName = ATTACK.losses[0]
    l2: Radii = BALL.l2
    linf: Radii = BALL.linf
    restarts: Natural = BALL.restarts
    steps: Count = BALL.steps
    effort: Effort = ATTACK.effort
    pairs: Pairs = ATTACK.pairs
    pair_seed: Natural = ATTACK.pair_seed
    draws: Count = ATTACK.draws
    precision: Precision = ATTACK.precision
    batch_size: Count = 64


class MeasureSpec(Spec):
    """All that decides what is measured of the attacks on one model with one loss."""

    loss: LossName = ATTACK.losses[0]
    checks: Checks = Checks()
    pair_seed: Natural = ATTACK.pair_seed
    draws: Count = ATTACK.draws
    samples: Count = ATTACK.samples
    batch_size: Count = 64

    @property
    def seed(self) -> int:
        """The seed of all random draws in measuring: the one that draws the pairs."""
        return self.pair_seed


class FigureSpec(Spec):
    """The settings of a figure and the cells whose files it reads, one cell for each file.

    ``things``: what a row of a data set is called, images or points. ``caveats``: of data sets whose models
    reproduce published code that is not correct.
    """

    plot: Plot = Plot()
    cells: tuple[Cell, ...] = ()
    things: dict[str, str] = Field(default={})
    caveats: dict[str, str] = Field(default={})


@cache
def settings_of_others(family: str) -> frozenset[str]:
    """Return the keys of `model` and `train` that only other families read."""
    others = {key for name in FAMILIES if name != family for key in find_family(name).settings}
    return frozenset(others - set(find_family(family).settings))
