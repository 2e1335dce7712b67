"""Kuzina et al. 2022's defence: before decoding, move z from q(z|x+d) by MCMC towards p(z|x+d) ∝ p(x+d|z) p(z).

An attacker moves the encoder's answer; the decoder still knows which z explain the picture that is seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vaepipe.attacks.loss import infer
from vaepipe.trust.hmc import Chains, hmc


class Defended:
    """A model behind the defence: ``latents(x, noise, …)`` instead of the encoder's own samples.

    Args:
        model: with ``posterior(x)`` and ``decode(*z)``; a hierarchical one with ``priors(*z)``.
        steps: HMC proposals; Kuzina et al. take 500 on MNIST.
        step_size, leapfrogs, acceptance: of `vaepipe.trust.hmc.hmc`.
    """

    def __init__(self, model, steps: int, step_size: float = 0.1, leapfrogs: int = 5, acceptance: float = 0.9):
        self.model, self.steps = model, steps
        self.options = {"step_size": step_size, "leapfrogs": leapfrogs, "target": acceptance}

    def latents(self, x: Tensor, noise: Tensor, seed: int, steps: int | None = None, differentiable: bool = False) -> Chains:
        """One chain per image: ``x`` (B, C, H, W), ``noise`` (B, Σ D_l) of its start. ``z`` holds all layers side by side."""
        samples = infer(self.model, x, noise[None])[1]
        sizes = [z.shape[-1] for z in samples]
        start = torch.cat(samples, -1)[0]

        def log_density(z: Tensor) -> Tensor:
            layers = z.split(sizes, dim=-1)
            return self.model.decode(*layers).log_prob(x) + sum(self._log_priors(layers))

        generator = torch.Generator(x.device).manual_seed(seed)
        steps = self.steps if steps is None else steps
        return hmc(log_density, start, steps, generator, differentiable=differentiable, **self.options)

    def decode(self, z: Tensor, sizes: Sequence[int]):
        return self.model.decode(*z.split(list(sizes), dim=-1))

    def _log_priors(self, layers: Sequence[Tensor]) -> list[Tensor]:
        """log p(z_l|z_{l+1}) of each layer (B,), up to the constant of N(0, I)."""
        priors = self.model.priors(*layers) if hasattr(self.model, "priors") else [None] * len(layers)
        return [-0.5 * z.square().sum(-1) if p is None else p.log_prob(z) for z, p in zip(layers, priors)]
