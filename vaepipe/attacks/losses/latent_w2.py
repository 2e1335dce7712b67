"""The squared 2-Wasserstein distance of the posteriors.

‖μ(x+d) − μ(x_t)‖² + ‖σ(x+d) − σ(x_t)‖²; d is the distortion, x_t the target.
Source: Willetts et al. 2021, part 2 of the authors' post.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.attacks.loss import Loss, between, residuals_between

if TYPE_CHECKING:
    from torch import Tensor

    from vaepipe.models.distributions import DiagonalNormal


def squared_distance(q: DiagonalNormal, goal: DiagonalNormal) -> Tensor:
    """Return (B,) squared 2-Wasserstein distances of two batches of diagonal normals (B, D)."""
    means = (q.mean - goal.mean).square().sum(-1)
    return means + (q.log_std.exp() - goal.log_std.exp()).square().sum(-1)


def residuals(q: DiagonalNormal, goal: DiagonalNormal) -> Tensor:
    """Return residuals (B, 2 D), half whose squared norm is the squared distance."""
    import torch

    return 2**0.5 * torch.cat([q.mean - goal.mean, q.log_std.exp() - goal.log_std.exp()], 1)


LOSS = Loss(
    name="latent-w2",
    title="latent 2-Wasserstein attack",
    unit="squared latent distance",
    build=between(squared_distance),
    residuals=residuals_between(residuals),
)
