"""The types of the keys of config.yaml, and the base class of its sections."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from vaepipe.attacks.registry import LOSSES
from vaepipe.models.estimators import AS_RELEASED, CORRECT
from vaepipe.models.registry import FAMILIES, NETWORKS
from vaepipe.trust.registry import PURIFIERS


@dataclass(frozen=True)
class OneOf:
    """A text that is one of ``names``."""

    names: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.literal_schema(list(self.names))


@dataclass(frozen=True)
class Unique:
    """A list without duplicates."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(core) | {"uniqueItems": True}

    @staticmethod
    def check(values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) < len(values):
            raise ValueError("expected no duplicates")
        return values


Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Text = Annotated[str, Field(min_length=1)]
FamilyName = Annotated[str, OneOf(FAMILIES)]
NetworkName = Annotated[str, OneOf(NETWORKS)]
LossName = Annotated[str, OneOf(LOSSES)]
LossNames = Annotated[tuple[LossName, ...], Unique()]
PurifierModel = Annotated[str, Field(pattern=r"^zoo:.|\.safetensors$", examples=["zoo:digits-vae"])]
PurifierNames = Annotated[tuple[Annotated[str, OneOf(PURIFIERS)] | PurifierModel, ...], Unique()]
EstimatorName = Annotated[str, OneOf(CORRECT + AS_RELEASED)]
Solver = Literal["lbfgs", "scipy"]
Effort = Literal["fast", "default", "thorough"]
Precision = Literal["float32", "float64"]


def fraction(value: Any) -> Any:
    """Return the number that a text such as ``8/255`` stands for; anything else is returned as it is."""
    parts = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", value) if isinstance(value, str) else None
    return int(parts[1]) / int(parts[2]) if parts else value


Fraction = Annotated[str, Field(pattern=r"^[1-9]\d*/[1-9]\d*$", examples=["8/255"])]
Radius = Annotated[Positive, BeforeValidator(fraction, json_schema_input_type=Positive | Fraction)]
Radii = Annotated[tuple[Radius, ...], Unique()]
Pairs = Count | Annotated[tuple[tuple[Natural, Natural], ...], Field(min_length=1), Unique()]
Lambda = Annotated[float, Field(ge=1e-30, le=1e30)]
LambdaValues = Annotated[tuple[Lambda, ...], Field(min_length=1), Unique()]


class Section(BaseModel):
    """A part of the configuration. It cannot be changed once it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)


class Geometric(Section):
    """`count` values, geometric from 2^`log2_min` to 2^`log2_max`."""

    log2_min: float = Field(default=-20, ge=-100, le=100)
    log2_max: float = Field(default=20, ge=-100, le=100)
    count: Count = 50


def lambda_values(lambdas: Mapping[str, Any] | Sequence[float]) -> tuple[float, ...]:
    """Return the values of λ, increasing: those of a list or of a mapping like `Geometric`."""
    if not isinstance(lambdas, Mapping):
        return tuple(sorted(float(lambda_) for lambda_ in lambdas))
    grid = Geometric.model_validate(lambdas)
    if grid.count == 1:
        return (2.0**grid.log2_min,)
    width = grid.log2_max - grid.log2_min
    return tuple(2.0 ** (grid.log2_min + width * step / (grid.count - 1)) for step in range(grid.count))


Lambdas = Annotated[
    tuple[Lambda, ...], BeforeValidator(lambda_values, json_schema_input_type=Geometric | LambdaValues)
]


def of_data_set(schema: dict[str, Any]) -> None:
    """Remove the default from a key's schema, because the default depends on the data set."""
    schema.pop("default")
