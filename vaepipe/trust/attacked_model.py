"""A model together with the distortions that an attack found for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaepipe.analysis import robustness
from vaepipe.attacks.loss import Loss, in_batches
from vaepipe.attacks.objective import Objective
from vaepipe.compute.randomness import seeded_generator


class AttackedModel:
    """A model, the attacks on P pairs at L values of λ, and the loss that they minimise.

    Args:
        x, target: (P, C, H, W) in [0,1], on the device of the model.
        distortion: (L, P, C, H, W), in any precision.
        norm: (L, P) 2-norms of the distortions.
        distances: ``adversarial_distance`` (L, P), and ``target_distance``, ``original_distance`` and
            ``input_distance`` (P,), as `vaepipe.metrics.trial.distances` gives them.
        seed: of the noise in losses that sample z, and of all checks.
        draws, batch_size: as in the attack.

    Attributes:
        row: (B, P) number of the strongest row of each pair within each budget of `robustness.BUDGETS`, −1 if
            there is none.
    """

    def __init__(
        self,
        model: Any,
        loss: Loss,
        x: Tensor,
        target: Tensor,
        distortion: Tensor,
        norm: np.ndarray,
        distances: Mapping[str, np.ndarray],
        *,
        seed: int,
        draws: int,
        batch_size: int,
    ):
        self.model, self.x, self.target, self.seed = model, x, target, seed
        self.distortion, self.norm = distortion.to(x), norm
        self.objective = Objective(model, x, target, loss, seed=seed, draws=draws, batch_size=batch_size)
        self.latent_sizes = self.objective.latent_sizes
        names = ("adversarial_distance", "target_distance", "original_distance")
        ratio = robustness.ratio(*(distances[name] for name in names))
        self.row = robustness.strongest(norm, distances["input_distance"], ratio)

    def divergence(self, u: Tensor) -> Tensor:
        """Return the loss (N·P,) at adversarial inputs ``u`` (N·P, C, H, W) of all pairs, N times in turn."""
        return self.objective.divergence(u, torch.arange(len(u), device=u.device) % len(self.x))

    def divergences(self, u: Tensor) -> Tensor:
        """Return the loss (L, P) at adversarial inputs ``u`` (L, P, C, H, W), without gradient."""
        rows, pair = u.flatten(0, 1), torch.arange(len(self.x), device=u.device).repeat(len(u))
        number = torch.arange(len(rows), device=u.device)
        value = in_batches(
            lambda n: self.objective.divergence(rows[n], pair[n]), number, self.objective.batch_size
        )
        return value.unflatten(0, u.shape[:2])

    def generator(self, *purpose: object) -> torch.Generator:
        """Return a random stream for one purpose."""
        return seeded_generator(self.x.device, "check", self.seed, *purpose)

    def strongest(self, budget: int) -> tuple[Tensor, Tensor]:
        """Return the strongest distortions (P, C, H, W) within a budget and their norms (P,); 0 if none."""
        row = torch.from_numpy(self.row[budget]).to(self.x.device)
        d = self.distortion[row.clamp(min=0), torch.arange(len(row))]
        d = torch.where((row >= 0).view(-1, *[1] * (d.ndim - 1)), d, 0.0)
        return d, d.flatten(1).norm(dim=1)
