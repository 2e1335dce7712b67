"""The 2-Wasserstein distance of the posteriors, not squared.

(‖μ(x+d) − μ(x_t)‖² + ‖σ(x+d) − σ(x_t)‖²)^½; d is the distortion, x_t the target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.attacks.loss import Loss, Setting, between
from vaepipe.attacks.losses.latent_w2 import squared_distance

if TYPE_CHECKING:
    from vaepipe.attacks.loss import Divergence


def build(setting: Setting) -> Divergence:
    """Return the root of the summed squared distances; at distance 0 the clamp makes the gradient 0."""
    squared = between(squared_distance)(setting)
    return lambda x, pair: squared(x, pair).clamp(min=1e-24).sqrt()


LOSS = Loss(
    name="latent-w2-root",
    title="latent 2-Wasserstein attack, not squared",
    unit="latent distance",
    build=build,
)
