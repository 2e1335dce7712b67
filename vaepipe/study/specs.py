"""Job specs: what a job gets on its command line, as JSON.

A spec holds all that decides the numbers of a job, apart from its input files and its code. Numbers of threads, the partition
of the work into jobs and lists of other losses are no part of it.
"""

from __future__ import annotations

import json
from typing import Any, Self

from pydantic import SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from vaepipe.storage.errors import DataError
from vaepipe.study.grid import Cell
from vaepipe.study.settings import (
    Attack,
    Ball,
    Checks,
    Count,
    Evaluate,
    ExternalOptions,
    LambdaValues,
    LossName,
    Model,
    Natural,
    Pairs,
    Plot,
    Positive,
    Precision,
    Radii,
    Section,
    Solver,
    TrainOptions,
)

ATTACK, BALL = Attack(), Ball()  # their values are the defaults here, too

FAMILY_SETTINGS: dict[str, tuple[str, ...]] = {"seatbelt": ("layers", "free_bits")}
"""Keys of `model` and `train` that only one family reads."""


class Spec(Section):
    """A job's specification. It reads and writes JSON with sorted keys."""

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The spec that a command line gives.

        Raises:
            DataError: one line that names the first key that is wrong.
        """
        try:
            return cls.model_validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(map(str, first["loc"]))
            given = "" if first["type"] in ("missing", "json_invalid") else f", got {first['input']!r}"
            raise DataError(f"--spec: {key + ': ' if key else ''}{first['msg']}{given}"[:1000]) from error

    def to_json(self) -> str:
        """The spec as a command line takes it."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)


class CellSpec(Spec):
    """A spec that names a cell of the grid."""

    dataset: str = "digits"
    family: str = "vae"
    beta: float = 1
    d_z: Count = 4
    seed: Natural = 0

    @property
    def cell(self) -> Cell:
        return Cell(self.dataset, self.family, self.beta, self.d_z, self.seed)


class PrepareSpec(Spec):
    """The source of a data set: its kind in the registry, the user's file or folder, and the options of that kind."""

    dataset: str
    kind: str
    path: str | None = None
    checksum: str | None = None
    options: dict[str, int | str | None] = {}

    @model_validator(mode="before")
    @classmethod
    def kind_is_name(cls, given: Any) -> Any:
        """A data set without a kind is of the kind of its name."""
        return (
            {"kind": given["dataset"], **given} if isinstance(given, dict) and "dataset" in given else given
        )


class ModelSpec(CellSpec):
    """All that decides the weights of a trained model. Settings that only other families read are no part of the JSON."""

    model: Model = Model()
    train: TrainOptions = TrainOptions()

    @model_serializer(mode="wrap")
    def without_other_families(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data = handler(self)
        for section in ("model", "train"):
            if section in data:
                data[section] = read_by(self.family, data[section])
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
    precision: Precision = ATTACK.precision
    max_iterations: Count = ATTACK.max_iterations
    tolerance: Positive = ATTACK.tolerance
    batch_size: Count = ATTACK.batch_size


class BallSpec(Spec):
    """All that decides an attack of bounded size."""

    loss: LossName = ATTACK.losses[0]
    l2: Radii = BALL.l2
    linf: Radii = BALL.linf
    restarts: Natural = BALL.restarts
    steps: Count = BALL.steps
    pairs: Pairs = ATTACK.pairs
    pair_seed: Natural = ATTACK.pair_seed
    draws: Count = ATTACK.draws
    precision: Precision = ATTACK.precision
    batch_size: Count = ATTACK.batch_size


class MeasureSpec(Spec):
    """All that decides what is measured of the attacks on one model with one loss."""

    loss: LossName = ATTACK.losses[0]
    checks: Checks = Checks()
    pair_seed: Natural = ATTACK.pair_seed
    draws: Count = ATTACK.draws
    samples: Count = ATTACK.samples
    batch_size: Count = ATTACK.batch_size

    @property
    def seed(self) -> int:
        """The seed of all random draws in measuring: the one that draws the pairs."""
        return self.pair_seed


class FigureSpec(Spec):
    """The settings of a figure, the cells whose files it reads (one for each file), and what a row of each data set is."""

    plot: Plot = Plot()
    cells: tuple[Cell, ...] = ()
    things: dict[str, str] = {}


def read_by(family: str, section: dict[str, Any]) -> dict[str, Any]:
    """The values of a section without the settings that only other families read."""
    others = {key for owner, keys in FAMILY_SETTINGS.items() if owner != family for key in keys}
    return {key: value for key, value in section.items() if key not in others}
