"""What the stages attack, ball and measure share: inputs, errors, and files that describe themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaepipe.attacks.errors import Refused
from vaepipe.attacks.loss import find_loss
from vaepipe.attacks.pairs import ImagePairs, select_pairs
from vaepipe.datasets.prepared import read_digest, read_split
from vaepipe.datasets.scale import to_unit_interval
from vaepipe.models.interface import Model
from vaepipe.stages.trained_model import read_trained_model
from vaepipe.storage.digests import file_digest
from vaepipe.storage.errors import DataError
from vaepipe.storage.h5 import write_h5
from vaepipe.storage.quantity import Quantity
from vaepipe.study.specs import AttackSpec, BallSpec, ExternalSpec, MeasureSpec, ModelSpec

CELL = ("dataset", "family", "beta", "d_z", "seed", "snapshot")


@dataclass(frozen=True)
class Inputs:
    """A trained model, its spec, and the digests of the files that a job reads."""

    model: Model
    model_spec: ModelSpec | ExternalSpec
    digests: dict[str, str]


def read_inputs(data: Path, weights: Path, device: torch.device) -> Inputs:
    """Return the model of ``weights`` on ``device``.

    Raises:
        DataError: a file that is missing, damaged or of another kind.
    """
    model, model_spec = read_trained_model(weights, device)
    digests = {"weights": file_digest(weights), "data": read_digest(data)}
    return Inputs(model, model_spec, digests)


def read_pairs(spec: AttackSpec | BallSpec, data: Path) -> ImagePairs:
    """Return the pairs of the held-out split that are attacked."""
    return select_pairs(read_split(data, "test"), spec.pairs, spec.pair_seed)


def to_images(array: np.ndarray, device: torch.device) -> Tensor:
    """Return stored images as floats in [0,1] on ``device``."""
    return to_unit_interval(torch.from_numpy(array).to(device))


@contextlib.contextmanager
def refusals_name_the_key(key: str, model_spec: ModelSpec | ExternalSpec) -> Iterator[None]:
    """Turn `Refused` into a `DataError` that names the key of the configuration and the model."""
    try:
        yield
    except Refused as error:
        family = model_spec.family
        place = f"or external.{family}.losses" if isinstance(model_spec, ExternalSpec) else f"of {family}"
        raise DataError(f"{key}, {place}: {error}") from error


def describe(quantities: Iterable[Quantity], group: str = "", leading: str = "L") -> dict[str, str]:
    """Return the HDF5 descriptions of quantities by the name of the array, with the axes.

    Args:
        group: HDF5 group of the arrays.
        leading: name of the first axis of quantities per trial, whose axes are "L,P,…".
    """
    texts = {}
    for quantity in quantities:
        axes = ",".join(leading if axis == "L" else axis for axis in quantity.axes.split(","))
        texts[f"{group}/{quantity.name}".lstrip("/")] = f"{quantity.description} ({axes})"
    return texts


def write_arrays(
    out: Path,
    kind: str,
    arrays: Mapping[str, Any],
    descriptions: Mapping[str, str],
    inputs: Inputs,
    spec: AttackSpec | BallSpec | MeasureSpec,
    code: str,
) -> None:
    """Write arrays with their descriptions, the cell, the loss, and what they are made from."""
    model_spec = inputs.model_spec.model_dump(mode="json")
    attributes = {key: model_spec[key] for key in CELL} | inputs.digests
    attributes |= {"unit": find_loss(spec.loss).unit}
    attributes |= {"model": model_spec, "loss": spec.loss, "spec": spec.model_dump(mode="json")}
    described = {name: (_to_numpy(array), descriptions[name]) for name, array in arrays.items()}
    write_h5(out, kind, described, attributes | {"code": code})


def _to_numpy(array: np.ndarray | Tensor) -> np.ndarray:
    return array.cpu().numpy() if isinstance(array, Tensor) else array
