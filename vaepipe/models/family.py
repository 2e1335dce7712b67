"""Model families: facts, objective and network. Imports without torch, as the workflow reads the facts."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from vaepipe.models.vae import VAE

COLOURS_OF_OTHERS = ("#CC79A7", "#E69F00", "#56B4E9")
"""Of models trained elsewhere, from Okabe & Ito 2008; no family of this package has one of them."""


def _not_trained_here(*_arguments: object, **_keywords: object) -> Any:
    raise ValueError("a model trained elsewhere has no objective and no network in this package")


@dataclass(frozen=True)
class Family:
    """A way to train a latent-variable model; ``vaepipe/models/families/<name>.py`` holds one as ``FAMILY``.

    Attributes:
        name: The name in the configuration, in paths and in tables.
        label: The name in figures.
        colour: Colour of lines and points in figures, from Okabe & Ito 2008.
        marker: Marker of points in figures.
        order: Place among the families in legends and tables, the lowest first.
        objective: A function of `vaepipe.models.objectives.Terms`, β, the number of training images and the
            section ``train``. It returns the scalar loss to minimise, nats per image.
        network: A function of the shape of one image or point, d_z and the section ``model``. It returns a
            module with the methods of `vaepipe.models.interface.Model`.
        fixed_beta: The β of the family's one model, where the β of the grid do not apply to it.
        shares_beta_one: Whether the family is the VAE at β = 1, which the grid trains once.
        has_width: Whether posteriors have a standard deviation above 0, so that KL divergences are finite.
        settings: Keys of the sections ``model`` and ``train`` that only this family reads.
        estimates_tc: Whether the objective has a minibatch estimate of the total correlation
            (``train.estimator``).
        trained_here: False for models trained elsewhere, which have neither objective nor network here.
    """

    name: str
    label: str
    colour: str
    marker: str
    order: int = 100
    objective: Callable[..., Tensor] = _not_trained_here
    network: Callable[..., VAE] = _not_trained_here
    fixed_beta: float | None = None
    shares_beta_one: bool = False
    has_width: bool = True
    settings: tuple[str, ...] = ()
    estimates_tc: bool = False
    trained_here: bool = True

    @property
    def uses_beta(self) -> bool:
        """Whether the family has one model for each β of the grid."""
        return self.fixed_beta is None

    @property
    def at_beta_one(self) -> str:
        """Name of the family whose model at β = 1 the family's line over β starts from."""
        has_its_own = self.uses_beta and not self.shares_beta_one
        return self.name if has_its_own else "vae"


@cache
def find_family(name: str) -> Family:
    """The family of this name; models trained elsewhere get a label, colour and marker made from the name."""
    place = f"vaepipe.models.families.{name.replace('-', '_')}"
    try:
        family = importlib.import_module(place).FAMILY
    except ModuleNotFoundError as error:
        if not place.startswith(error.name or "?"):  # an import inside the family's file failed
            raise
        return _trained_elsewhere(name)
    return family if family.name == name else _trained_elsewhere(name)


def _trained_elsewhere(name: str) -> Family:
    colour = COLOURS_OF_OTHERS[sum(name.encode()) % len(COLOURS_OF_OTHERS)]
    return Family(name=name, label=name, colour=colour, marker="P", fixed_beta=0.0, trained_here=False)
