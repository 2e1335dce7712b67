"""What the rest of the package asks of a model. Images are (B, C, H, W) in [0,1], latents one (B, D_l) per stochastic layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from vaepipe.models.distributions import DiagonalNormal


class Likelihood(Protocol):
    """p(x|z) of a batch."""

    @property
    def mean(self) -> Tensor:
        """(B, C, H, W) expected images."""

    def log_prob(self, x: Tensor) -> Tensor:
        """(B,) log density of ``x``, nats, summed over pixels."""


class Model(Protocol):
    """A trained latent-variable model."""

    latent_sizes: tuple[int, ...]
    """Dimensions D_l of each stochastic layer, the bottom one first."""

    def posterior(self, x: Tensor) -> tuple[DiagonalNormal, ...]:
        """q(z_l|x) of each layer, lower layers at their means."""

    def infer(
        self, x: Tensor, noise: Tensor | None = None
    ) -> tuple[tuple[DiagonalNormal, ...], tuple[Tensor, ...]]:
        """(posteriors, samples) of each layer, with standard normal ``noise`` (…, B, Σ D_l); without noise, the means."""

    def priors(self, *samples: Tensor) -> tuple[DiagonalNormal | None, ...]:
        """p(z_l|z_{l+1}) of each layer; None is N(0, I)."""

    def decode(self, *samples: Tensor) -> Likelihood:
        """p(x|z) of a sample of every layer."""
