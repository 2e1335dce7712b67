"""The β-TCVAE: −[log p(x|z) − KL(q(z|x) ‖ p(z))] + (β − 1) TC(q(z)). Chen et al. 2018."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.models.family import Family

if TYPE_CHECKING:
    from torch import Tensor

    from vaepipe.models.interface import ModelSettings, TrainSettings
    from vaepipe.models.objectives import Terms
    from vaepipe.models.vae import VAE


def objective(terms: Terms, beta: float, dataset_size: int, settings: TrainSettings) -> Tensor:
    """−ELBO + (β − 1) TC, mean over images; the total correlation is the minibatch estimate."""
    from vaepipe.models.objectives import negative_elbo, weighted_tc

    return negative_elbo(terms, settings) + weighted_tc(terms, beta, dataset_size, settings.estimator)


def network(shape: tuple[int, ...], d_z: int, settings: ModelSettings) -> VAE:
    """One stochastic layer."""
    from vaepipe.models.vae import VAE

    return VAE(shape, d_z, settings)


FAMILY = Family(
    name="beta-tcvae",
    label="β-TCVAE",
    colour="#D55E00",
    marker="^",
    order=3,
    objective=objective,
    network=network,
    shares_beta_one=True,
    estimates_tc=True,
)
