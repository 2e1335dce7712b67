"""The Seatbelt-VAE: −[log p(x|z₁…z_L) − Σ_l KL_l] + (β − 1) TC(q(z_L)). Willetts et al. 2021."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.models.family import Family

if TYPE_CHECKING:
    from torch import Tensor

    from vaepipe.models.interface import ModelSettings, TrainSettings
    from vaepipe.models.objectives import Terms
    from vaepipe.models.seatbelt import Seatbelt


def objective(terms: Terms, beta: float, dataset_size: int, settings: TrainSettings) -> Tensor:
    """−log p(x|z₁…z_L) + Σ_l KL_l + (β − 1) TC of the top layer, mean over images.

    With one layer the objective is that of the β-TCVAE.
    """
    from vaepipe.models.objectives import negative_elbo, weighted_tc

    return negative_elbo(terms, settings) + weighted_tc(terms, beta, dataset_size, settings.estimator)


def network(shape: tuple[int, ...], d_z: int, settings: ModelSettings) -> Seatbelt:
    """L stochastic layers."""
    from vaepipe.models.seatbelt import Seatbelt

    return Seatbelt(shape, d_z, settings)


FAMILY = Family(
    name="seatbelt",
    label="Seatbelt",
    colour="#009E73",
    marker="D",
    order=4,
    objective=objective,
    network=network,
    settings=("layers", "between"),
    estimates_tc=True,
)
