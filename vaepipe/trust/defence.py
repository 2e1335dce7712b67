"""The defence of Kuzina et al. 2022: before decoding, z moves towards p(z|x+d) ∝ p(x+d|z) p(z) by MCMC.

It starts at a sample of q(z|x+d). An attack moves the encoder's answer; the decoder still knows which z
explain the picture that is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vaepipe.analysis import robustness
from vaepipe.attacks.loss import infer
from vaepipe.trust.attacked_model import AttackedModel
from vaepipe.trust.hmc import Chains, hmc
from vaepipe.trust.masking import descend

if TYPE_CHECKING:
    from vaepipe.models.interface import Likelihood
    from vaepipe.study.settings import Checks


class Defended:
    """A model behind the defence: ``latents(x, noise, …)`` replaces the encoder's samples.

    Args:
        model: with ``posterior(x)`` and ``decode(*z)``; a hierarchical one with ``priors(*z)``.
        steps: HMC proposals; Kuzina et al. take 500 on MNIST.
        step_size, leapfrogs, acceptance: as in `vaepipe.trust.hmc.hmc`.
    """

    def __init__(
        self, model: Any, steps: int, step_size: float = 0.1, leapfrogs: int = 5, acceptance: float = 0.9
    ):
        self.model, self.steps = model, steps
        self.options: dict[str, Any] = {"step_size": step_size, "leapfrogs": leapfrogs, "target": acceptance}

    def latents(
        self, x: Tensor, noise: Tensor, seed: int, steps: int | None = None, differentiable: bool = False
    ) -> Chains:
        """Return one chain per image; its ``z`` (B, Σ D_l) holds all layers side by side.

        Args:
            x: (B, C, H, W).
            noise: (B, Σ D_l) standard normal, of the start of each chain.
            seed: of the chains.
            steps: proposals, if fewer than those of the defence.
            differentiable: keep the graph back to x.
        """
        samples = infer(self.model, x, noise[None])[1]
        sizes = [z.shape[-1] for z in samples]
        start = torch.cat(samples, -1)[0]

        def log_density(z: Tensor) -> Tensor:
            layers = z.split(sizes, dim=-1)
            return self.model.decode(*layers).log_prob(x) + sum(self._log_priors(layers))

        generator = torch.Generator(x.device).manual_seed(seed)
        steps = self.steps if steps is None else steps
        return hmc(log_density, start, steps, generator, differentiable=differentiable, **self.options)

    def decode(self, z: Tensor, sizes: Sequence[int]) -> Likelihood:
        """Return p(x|z) of ``z`` (B, Σ D_l), all layers of the given sizes side by side."""
        return self.model.decode(*z.split(list(sizes), dim=-1))

    def _log_priors(self, layers: Sequence[Tensor]) -> list[Tensor]:
        """Return log p(z_l|z_{l+1}) of each layer (B,), up to the constant of N(0, I)."""
        model = self.model
        priors = model.priors(*layers) if hasattr(model, "priors") else [None] * len(layers)
        return [
            -0.5 * z.square().sum(-1) if prior is None else prior.log_prob(z)
            for z, prior in zip(layers, priors)
        ]


class DefenceCheck:
    """Distances from the target of reconstructions behind the defence."""

    def __init__(self, attacked: AttackedModel, checks: Checks):
        self.attacked = attacked
        self.defended = Defended(
            attacked.model,
            checks.mcmc_steps,
            checks.mcmc_step_size,
            checks.mcmc_leapfrogs,
            checks.mcmc_acceptance,
        )

    def pictures(
        self, u: Tensor, purpose: str, seed: int, steps: int | None = None, differentiable: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return the reconstructions of inputs ``u`` (P, C, H, W), and the mean acceptance of the chains.

        Args:
            purpose: of the random starts of the chains, "evaluate" or "attack".
            seed, steps, differentiable: as in `Defended.latents`.
        """
        attacked, sizes = self.attacked, self.attacked.latent_sizes
        generator = attacked.generator("defence", purpose)
        noise = torch.randn(len(u), sum(sizes), generator=generator, device=u.device)
        chains = self.defended.latents(u, noise, seed, steps, differentiable)
        return self.defended.decode(chains.z, sizes).mean, chains.acceptance.detach().mean()

    def distance(
        self, u: Tensor, purpose: str, seed: int, steps: int | None = None, differentiable: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return the distances (P,) of `pictures` from the targets, and the mean acceptance of the chains."""
        pictures, acceptance = self.pictures(u, purpose, seed, steps, differentiable)
        return (pictures - self.attacked.target).flatten(1).norm(dim=1), acceptance

    @torch.no_grad()
    def evaluate(self, u: Tensor) -> tuple[np.ndarray, Tensor]:
        """Return the distances (P,) and the acceptance rate, with the noise of the defence."""
        distance, acceptance = self.distance(u, "evaluate", self.attacked.seed)
        return distance.cpu().numpy(), acceptance

    def adapt(self, d: Tensor, radius: Tensor, steps: int, iterations: int) -> Tensor:
        """Return distortions within ``radius`` (P,) made to pass the defence, by descent from ``d``.

        The attacker knows the defence, but neither its noise nor more than ``steps`` of its proposals.
        """

        def value(u: Tensor) -> Tensor:
            return self.distance(u, "attack", self.attacked.seed + 1, steps, differentiable=True)[0]

        return descend(value, self.attacked.x, d, radius, iterations)[0]


def check_defence(attacked: AttackedModel, checks: Checks) -> dict[str, np.ndarray]:
    """Pass the strongest rows, and distortions made for the defence, through the defence.

    The distances T and O, of the target and of the original, are measured behind the defence too.
    """
    check = DefenceCheck(attacked, checks)
    (target, target_rate), (original, original_rate) = (
        check.evaluate(u) for u in (attacked.target, attacked.x)
    )
    ratios: dict[str, list[np.ndarray]] = {"defended_ratio": []}
    if checks.adaptive_steps:
        ratios["adaptive_ratio"] = []
    for budget, row in enumerate(attacked.row):
        d, radius = attacked.strongest(budget)
        distortions = {"defended_ratio": d}
        if checks.adaptive_steps:
            adapted = check.adapt(d, radius, checks.adaptive_steps, checks.adaptive_iterations)
            distortions["adaptive_ratio"] = adapted
        for name, distortion in distortions.items():
            adversarial = check.evaluate(attacked.x + distortion)[0]
            ratio = robustness.ratio(adversarial, target, original)
            ratios[name].append(np.where(row >= 0, ratio, np.nan))
    acceptance = float(torch.stack([target_rate, original_rate]).mean())
    return {name: np.stack(rows) for name, rows in ratios.items()} | {"acceptance": np.array(acceptance)}
