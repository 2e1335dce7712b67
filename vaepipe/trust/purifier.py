"""What a purifier is: what a defender does to an input before it is decoded, to wash an attack out."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from vaepipe.attacks.loss import infer

if TYPE_CHECKING:
    from vaepipe.models.interface import Model
    from vaepipe.study.settings import Checks
    from vaepipe.trust.attacked_model import AttackedModel


class Reconstruct(Protocol):
    """Pictures (P, C, H, W) of the inputs ``u`` (P, C, H, W) of all pairs, behind a purifier.

    Args:
        purpose: of the random numbers, "evaluate" or "attack": an attacker does not know the defender's.
        differentiable: keep the graph back to ``u``.
    """

    def __call__(self, u: Tensor, purpose: str, differentiable: bool) -> Tensor: ...


@dataclass(frozen=True)
class Purifier:
    """A purifier; ``vaepipe/trust/purifiers/<name>.py`` holds one as ``PURIFIER``.

    Attributes:
        name: as in the configuration and in tables.
        build: (attacked model, section ``checks``) → reconstructions behind the purifier.
    """

    name: str
    build: Callable[[AttackedModel, Checks], Reconstruct]


def find_purifier(name: str, models: Mapping[str, Model] = MappingProxyType({})) -> Purifier:
    """Return the purifier of ``vaepipe/trust/purifiers/<name>.py``, or the one that is a model.

    Args:
        models: those that are models, by name: their reconstructions take the place of inputs.
    """
    if name in models:
        from vaepipe.trust.purifiers.vae import reconstruct

        return Purifier(name, before_model(lambda attacked, x: reconstruct(models[name], x)))
    return importlib.import_module(f"vaepipe.trust.purifiers.{name.replace('-', '_')}").PURIFIER


def before_model(purify: Callable[[Any, Tensor], Tensor]) -> Callable[[AttackedModel, Checks], Reconstruct]:
    """Return a `Purifier.build` that changes images before the model sees them; it decodes one sample each.

    Args:
        purify: (model, images (B, C, H, W) in [0,1]) → images of that shape.
    """

    def build(attacked: AttackedModel, checks: Checks) -> Reconstruct:
        def reconstruct(u: Tensor, purpose: str, differentiable: bool) -> Tensor:
            size = sum(attacked.latent_sizes)
            generator = attacked.generator("purifier", purpose)
            noise = torch.randn(1, len(u), size, generator=generator, device=u.device).to(u)
            samples = infer(attacked.model, purify(attacked.model, u), noise)[1]
            return attacked.model.decode(*(z[0] for z in samples)).mean

        return reconstruct

    return build


def straight_through(function: Callable[[Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """Return a function of (model, images) with the values of ``function`` and the gradient of the identity.

    Source: Bengio et al. 2013; as an attack on purifiers without gradient Athalye et al. 2018 (BPDA).
    """
    return lambda model, x: x + (function(x.detach()) - x.detach())
