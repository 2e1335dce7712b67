"""Reading the file of a trained model: weights, and the spec that decided them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import ValidationError

from vaepipe.models.build import restore_external_model, restore_model
from vaepipe.storage.errors import DataError
from vaepipe.storage.weights import read_weights
from vaepipe.study.specs import ExternalSpec, ModelSpec

if TYPE_CHECKING:
    from vaepipe.models.interface import Model


def read_trained_model(
    path: str | Path, device: str | torch.device = "cpu"
) -> tuple[Model, ModelSpec | ExternalSpec]:
    """Read a model of a study.

    Args:
        path: The file ``model.safetensors`` of a model.
        device: Where to put the model.

    Returns:
        The model, in eval mode and without gradients, and the specification that it was trained or adopted
        with: its family, β, d_z, seed, and the sections ``model`` and ``train``.

    Raises:
        DataError: The file is missing or damaged, or its weights are not finite.
    """
    weights, meta = read_weights(path)
    try:
        shape = tuple(json.loads(meta["shape"]))
        spec: ModelSpec | ExternalSpec
        if "external" in json.loads(meta["spec"]):
            spec = ExternalSpec.model_validate_json(meta["spec"])
            return restore_external_model(spec.external, shape, weights).to(device), spec
        spec = ModelSpec.model_validate_json(meta["spec"])
        model = restore_model(spec, shape, weights)
    except (KeyError, RuntimeError, ValidationError) as error:
        raise DataError(
            f"{path}: not weights that this version can load; delete it to have it made again"
        ) from error
    if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
        raise DataError(f"{path}: holds weights that are not finite")
    return model.to(device), spec
