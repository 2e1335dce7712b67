"""Models of pythae, from the folder that its ``save`` or trainer wrote: model_config.json and model.pt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaepipe.models.adapter import Adapter, load_weights, read_settings
from vaepipe.storage.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from vaepipe.models.plain import Plain

MODELS = (
    "VAE", "BetaVAE", "BetaTCVAE", "DisentangledBetaVAE", "FactorVAE", "INFOVAE_MMD", "IWAE", "CIWAE",
    "MIWAE", "PIWAE", "MSSSIM_VAE", "VAEGAN", "Adversarial_AE", "AE", "RAE_GP", "RAE_L2", "WAE_MMD",
)  # fmt: skip
"""Models whose posterior is the encoder's normal, or its point, and whose prior is N(0, I). Those with flows,
VampPriors, other geometries or codebooks are not: their latents are more than what the encoder says."""


class Networks:
    """``encode`` and ``decode`` of a model of pythae, which has networks of these purposes."""

    def __init__(self, model: Any):
        self.model, self.training = model, False

    def encode(self, x: Tensor) -> Any:
        return self.model.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        return self.model.decoder(z)["reconstruction"]


def build(path: Path, weights: dict[str, Tensor]) -> Plain:
    """The model of the folder with these weights.

    The likelihood is that of its loss: Bernoulli for ``bce``, otherwise a Gaussian of σ = 1.
    """
    import pythae.models
    from pythae.models.auto_model import AutoConfig

    from vaepipe.models.plain import Plain

    settings = read_settings(path, "model_config.json")
    name = str(settings.get("name", "")).removesuffix("Config").removesuffix("_")
    if name not in MODELS:
        given = f"name is {settings.get('name')!r}"
        raise DataError(f"{path / 'model_config.json'}: {given}; expected those of {', '.join(MODELS)}")
    for network in ("encoder", "decoder"):
        if not settings.get(f"uses_default_{network}", True):
            rule = "which is not executed; write an entry point that builds it, see docs/your-model.md"
            raise DataError(f"{path}: the {network} is a pickle, {rule}")
    model = getattr(pythae.models, name)(AutoConfig.from_json_file(str(path / "model_config.json")))
    load_weights(model, weights, path)
    bce = settings.get("reconstruction_loss") == "bce"
    plain = Plain(Networks(model), "probabilities" if bce else "gaussian", sigma=1.0)
    plain.add_module("networks", model)  # so that it moves to the device with the rest
    return plain.eval()


def weights_file(path: Path) -> tuple[Path, str]:
    """The file of the weights in the folder, and their place in it."""
    return path / "model.pt", "model_state_dict"


def shape(path: Path) -> tuple[int, ...] | None:
    """(C, H, W) of the images that the model takes."""
    sizes = read_settings(path, "model_config.json").get("input_dim")
    return tuple(sizes) if sizes else None


ADAPTER = Adapter("pythae", build, weights_file, shape=shape)
