"""What attacks minimise beside λ‖d‖₂: one function each. Nats, summed over latent dimensions and layers.

A loss takes the model, the targets (P, C, H, W) and their posteriors, one per layer, and returns
``divergence(x (B, C, H, W), pair (B,)) -> (B,)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from vaepipe.distributions import DiagonalNormal

Divergence = Callable[[Tensor, Tensor], Tensor]


def latent_kl(model, target: Tensor, references: Sequence[DiagonalNormal]) -> Divergence:
    """KL(q(z|x+d) ‖ q(z|x_t)), adversarial first, summed over layers (Tabacof et al. 2016; Gondim-Ribeiro et al. 2018)."""

    def divergence(x: Tensor, pair: Tensor) -> Tensor:
        return sum(q.kl(reference.rows(pair)) for q, reference in zip(model.posterior(x), references))

    return divergence


LOSSES: dict[str, Callable[..., Divergence]] = {"latent-kl": latent_kl}
