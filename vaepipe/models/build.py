"""Models from specs: with random weights for training, or with trained weights."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaepipe.models.family import find_family

if TYPE_CHECKING:
    from vaepipe.models.external import External
    from vaepipe.models.interface import ExternalSettings, TrainedSpec
    from vaepipe.models.vae import VAE


def build_model(spec: TrainedSpec, shape: tuple[int, ...]) -> VAE:
    """A model with random weights drawn from the spec's seed; the global random generators do not change.

    Args:
        shape: of one image (C, H, W) or point (n,).
    """
    with torch.random.fork_rng(
        devices=[]
    ):  # weights are drawn on the CPU; generators of GPUs stay as they are
        torch.manual_seed(spec.seed)
        return find_family(spec.family).network(shape, spec.d_z, spec.model)


def restore_model(spec: TrainedSpec, shape: tuple[int, ...], weights: dict[str, Tensor]) -> VAE:
    """The trained model, in eval mode and without gradients.

    Raises:
        RuntimeError: the weights are those of another model.
    """
    model = build_model(spec, shape)
    model.load_state_dict(weights)
    return model.eval().requires_grad_(False)


def restore_external_model(
    settings: ExternalSettings, shape: tuple[int, ...], weights: dict[str, Tensor]
) -> External:
    """A model trained elsewhere, in eval mode and without gradients.

    `vaepipe.models.external` is imported by name, so that its code counts in the digests of such models only.

    Raises:
        DataError: the user's code fails or gives something else than a model.
    """
    external = importlib.import_module("vaepipe.models.external")
    return external.build(settings, weights, shape).requires_grad_(False)
