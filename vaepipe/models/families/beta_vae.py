"""The β-VAE: −[log p(x|z) − β KL(q(z|x) ‖ p(z))]. Higgins et al. 2017."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.models.family import Family

if TYPE_CHECKING:
    from torch import Tensor

    from vaepipe.models.interface import ModelSettings, TrainSettings
    from vaepipe.models.objectives import Terms
    from vaepipe.models.vae import VAE


def objective(terms: Terms, beta: float, dataset_size: int, settings: TrainSettings) -> Tensor:
    """−log p(x|z) + β KL, mean over images."""
    from vaepipe.models.objectives import negative_elbo

    return negative_elbo(terms, settings, beta)


def network(shape: tuple[int, ...], d_z: int, settings: ModelSettings) -> VAE:
    """One stochastic layer."""
    from vaepipe.models.vae import VAE

    return VAE(shape, d_z, settings)


FAMILY = Family(
    name="beta-vae",
    label="β-VAE",
    colour="#0072B2",
    marker="o",
    order=2,
    objective=objective,
    network=network,
    shares_beta_one=True,
)
