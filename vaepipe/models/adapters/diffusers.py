"""Autoencoders of diffusers, from a local folder in the layout of the hub: config.json and the weights.

The encoders of latent diffusion: AutoencoderKL, and the deterministic AutoencoderTiny and AutoencoderDC.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vaepipe.models.adapter import Adapter, load_weights, read_settings
from vaepipe.storage.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from vaepipe.models.plain import Plain

CLASSES = ("AutoencoderKL", "AutoencoderTiny", "AutoencoderDC")
SIGMA = 0.2
"""Standard deviation of p(x|z) over pixels in [-1,1]: 0.1 over [0,1], as for models of this package.
Assumption: these models have no likelihood."""
FILES = tuple(
    f"diffusion_pytorch_model{variant}.{end}" for end in ("safetensors", "bin") for variant in ("", ".fp16")
)


def build(path: Path, weights: dict[str, Tensor]) -> Plain:
    """The model of the folder with these weights; spatial latents are flattened."""
    import diffusers

    from vaepipe.models.plain import Plain

    settings = read_settings(path, "config.json")
    name = settings.get("_class_name")
    if name not in CLASSES:
        raise DataError(
            f"{path / 'config.json'}: _class_name is {name!r}; expected one of {', '.join(CLASSES)}"
        )
    model = getattr(diffusers, name).from_config(settings)
    weights = {name: tensor.float() for name, tensor in weights.items()}
    model._fix_state_dict_keys_on_load(weights)  # of checkpoints with the names before diffusers 0.16
    return Plain(load_weights(model, weights, path), sigma=SIGMA)


def weights_file(path: Path) -> tuple[Path, None]:
    """The file of the weights in the folder."""
    for name in FILES:
        if (path / name).is_file():
            return path / name, None
    hint = f"; of this pipeline give diffusers:{path / 'vae'}" if (path / "vae").is_dir() else ""
    raise DataError(f"{path}: has no {FILES[0]}; expected a folder in the hub's layout{hint}")


ADAPTER = Adapter("diffusers", build, weights_file, range=(-1.0, 1.0))
