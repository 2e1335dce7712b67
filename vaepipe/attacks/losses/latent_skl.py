"""The symmetric Kullback–Leibler divergence.

½ KL(q(z|x+d) ‖ q(z|x_t)) + ½ KL(q(z|x_t) ‖ q(z|x+d)); d is the distortion, x_t the target.
Source: Kuzina et al. 2021.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.attacks.loss import Loss, between, residuals_between

if TYPE_CHECKING:
    from torch import Tensor

    from vaepipe.models.distributions import DiagonalNormal


def residuals(q: DiagonalNormal, goal: DiagonalNormal) -> Tensor:
    """Return residuals (B, 2 D), half whose squared norm is the divergence."""
    import torch

    precision = 0.5 * ((-2 * q.log_std).exp() + (-2 * goal.log_std).exp())
    widths = 2**0.5 * (q.log_std - goal.log_std).sinh()
    return torch.cat([(q.mean - goal.mean) * precision.sqrt(), widths], 1)


LOSS = Loss(
    name="latent-skl",
    title="symmetric latent KL attack",
    unit="nats",
    build=between(lambda q, goal: 0.5 * (q.kl(goal) + goal.kl(q))),
    residuals=residuals_between(residuals),
    needs_width=True,
)
