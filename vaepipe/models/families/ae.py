"""The autoencoder: −log p(x|z) at z = μ(x). Posteriors have no width, so there is no β, no ELBO and no KL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.models.family import Family

if TYPE_CHECKING:
    from torch import Tensor

    from vaepipe.models.interface import ModelSettings, TrainSettings
    from vaepipe.models.objectives import Terms
    from vaepipe.models.vae import AE


def objective(terms: Terms, beta: float, dataset_size: int, settings: TrainSettings) -> Tensor:
    """−log p(x|z), mean over images."""
    return -terms.log_likelihood.mean()


def network(shape: tuple[int, ...], d_z: int, settings: ModelSettings) -> AE:
    """The VAE's networks with a posterior of no width."""
    from vaepipe.models.vae import AE

    return AE(shape, d_z, settings)


FAMILY = Family(
    name="ae",
    label="AE",
    colour="#999999",
    marker="x",
    order=0,
    objective=objective,
    network=network,
    fixed_beta=0.0,
    has_width=False,
)
