"""The VAE: −[log p(x|z) − KL(q(z|x) ‖ p(z))]. Kingma & Welling 2014."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.models.family import Family

if TYPE_CHECKING:
    from torch import Tensor

    from vaepipe.models.interface import ModelSettings, TrainSettings
    from vaepipe.models.objectives import Terms
    from vaepipe.models.vae import VAE


def objective(terms: Terms, beta: float, dataset_size: int, settings: TrainSettings) -> Tensor:
    """−ELBO, mean over images."""
    from vaepipe.models.objectives import negative_elbo

    return negative_elbo(terms, settings)


def network(shape: tuple[int, ...], d_z: int, settings: ModelSettings) -> VAE:
    """One stochastic layer."""
    from vaepipe.models.vae import VAE

    return VAE(shape, d_z, settings)


FAMILY = Family(
    name="vae",
    label="VAE",
    colour="#222222",
    marker="s",
    order=1,
    objective=objective,
    network=network,
    fixed_beta=1.0,
)
