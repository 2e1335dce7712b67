"""What a model offers, and which settings it is built and trained from: protocols for type checkers.

Images are (B, C, H, W) in [0,1], points (B, n). Latents are one (B, D_l) per layer, the bottom one first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
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
    """A latent-variable model with one or more stochastic layers.

    Images are (B, C, H, W) in [0,1], points (B, n). Latents are one (B, D_l) for each layer, the bottom one
    first.
    """

    latent_sizes: tuple[int, ...]
    """Number of dimensions D_l of each stochastic layer, the bottom one first."""

    def posterior(self, x: Tensor) -> tuple[DiagonalNormal, ...]:
        """Return q(z_l|x) of each layer. The layers below are at their means."""

    def infer(
        self, x: Tensor, noise: Tensor | None = None
    ) -> tuple[tuple[DiagonalNormal, ...], tuple[Tensor, ...]]:
        """Return the posterior and a sample of each layer.

        Args:
            x: Images or points.
            noise: Standard normal numbers (…, B, Σ D_l) that make the samples. None takes the means.
        """

    def priors(self, *samples: Tensor) -> tuple[DiagonalNormal | None, ...]:
        """Return p(z_l|z_{l+1}) of each layer, given a sample of every layer. None stands for N(0, I)."""

    def decode(self, *samples: Tensor) -> Likelihood:
        """Return p(x|z), given a sample of every layer. It has ``mean`` and ``log_prob(x)``."""


class Images(Protocol):
    """Images or points in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image or point."""

    def to(self, device: torch.device) -> Images:
        """The same on another device."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> Tensor: ...


class ModelSettings(Protocol):
    """The section ``model`` of the configuration."""

    @property
    def network(self) -> str: ...
    @property
    def hidden(self) -> Sequence[int]: ...
    @property
    def batch_norm(self) -> bool | None: ...
    @property
    def likelihood(self) -> str: ...
    @property
    def sigma_x(self) -> float: ...
    @property
    def layers(self) -> int: ...
    @property
    def between(self) -> Sequence[int]: ...


class TrainSettings(Protocol):
    """The section ``train`` of the configuration."""

    @property
    def epochs(self) -> int: ...
    @property
    def steps(self) -> int | None: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def schedule(self) -> str: ...
    @property
    def estimator(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def beta_warmup(self) -> int: ...
    @property
    def clip(self) -> float | None: ...
    @property
    def free_bits(self) -> float | None: ...
    @property
    def kl(self) -> str: ...
    @property
    def likelihood_weight(self) -> float: ...
    @property
    def snapshots(self) -> Sequence[int]: ...


class TrainedSpec(Protocol):
    """What decides a model's weights: a cell of the grid, and the two sections."""

    @property
    def family(self) -> str: ...
    @property
    def beta(self) -> float: ...
    @property
    def d_z(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def model(self) -> ModelSettings: ...
    @property
    def train(self) -> TrainSettings: ...


class ExternalSettings(Protocol):
    """The keys of the section ``external`` that a model trained elsewhere is rebuilt from."""

    @property
    def entry(self) -> str: ...
    @property
    def range(self) -> Sequence[float]: ...
    @property
    def d_z(self) -> int | None: ...
    @property
    def likelihood(self) -> str: ...
