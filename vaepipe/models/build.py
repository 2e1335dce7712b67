"""Models: built from a spec, saved to and loaded from safetensors. A model gives ``posterior(x)`` and ``decode(z)``."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from vaepipe.models import external
from vaepipe.models.family import find_family
from vaepipe.models.vae import VAE
from vaepipe.storage.errors import DataError
from vaepipe.storage.weights import read_weights


def build(spec: dict, shape) -> VAE:
    """A model with random weights drawn from the spec's seed. ``spec``: family, seed, d_z and model, as in the config."""
    with torch.random.fork_rng(devices=[]):  # the weights are drawn on the CPU; other GPUs are not ours to touch
        torch.manual_seed(spec["seed"])
        return find_family(spec["family"]).network(shape, spec["d_z"], **spec["model"])


def load(path: str | Path, device: str | torch.device = "cpu") -> tuple[VAE, dict]:
    """(trained model in eval mode without gradients, its spec with the data's ``shape``).

    Raises:
        DataError: missing or damaged file, or weights that are not finite.
    """
    tensors, meta = read_weights(path)
    try:
        spec = json.loads(meta["spec"])
        if "external" in spec:
            return external.build(spec["external"], tensors, spec["shape"]).to(device).requires_grad_(False), spec
        model = build(spec, spec["shape"])
        model.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise DataError(f"{path}: not weights that this version can load; delete it to have it made again") from error
    if not all(torch.isfinite(t).all() for t in tensors.values()):
        raise DataError(f"{path}: holds weights that are not finite")
    return model.to(device).eval().requires_grad_(False), spec


def as_float(x: torch.Tensor) -> torch.Tensor:
    """uint8 images in [0,255] → floats in [0,1]; points stay as they are."""
    return x.float().div_(255) if x.dtype == torch.uint8 else x
