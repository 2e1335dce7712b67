"""Samples of posteriors, decoded; and all trial metrics of all trials."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vaepipe.compute.randomness import seeded_generator
from vaepipe.metrics.trial_metric import Pairs, Trial, find_trial_metric
from vaepipe.models.interface import Likelihood, Model


@dataclass(frozen=True)
class Decoding:
    """p(x|z) for S samples of z of each of P images.

    Attributes:
        likelihood: of S · P rows.
        pictures: (S, P, C, H, W) expected images.
    """

    likelihood: Likelihood
    pictures: Tensor

    @property
    def first_picture(self) -> Tensor:
        """(P, C, H, W) expected images of the first sample."""
        return self.pictures[0]

    def distance(self, images: Tensor) -> Tensor:
        """Return (P,) 2-norms over all pixels of pictures − images (P, C, H, W), means over samples."""
        return (self.pictures - images).flatten(2).norm(dim=2).mean(0)

    def negative_log_likelihood(self, images: Tensor) -> Tensor:
        """Return (P,) −log p(images|z), nats, means over samples."""
        samples, count = self.pictures.shape[:2]
        log_prob = self.likelihood.log_prob(images.repeat(samples, 1, 1, 1))
        return -log_prob.unflatten(0, (samples, count)).mean(0)


def posterior_noise(model: Model, count: int, samples: int, seed: int, device: torch.device) -> Tensor:
    """Return (S, P, Σ D_l) standard normal noise; that of pair p depends on the seed and p alone."""
    size = sum(model.latent_sizes)
    generators = (seeded_generator(device, "outcome", seed, p) for p in range(count))
    return torch.stack([torch.randn(samples, size, generator=g, device=device) for g in generators], 1)


def decode_samples(model: Model, images: Tensor, noise: Tensor) -> Decoding:
    """Return decoded samples of the posteriors of ``images`` (P, C, H, W), with noise (S, P, Σ D_l)."""
    latents = model.infer(images, noise)[1]
    likelihood = model.decode(*(z.flatten(0, 1) for z in latents))
    return Decoding(likelihood, likelihood.mean.unflatten(0, noise.shape[:2]))


@torch.no_grad()
def measure_trials(
    model: Model,
    x: Tensor,
    target: Tensor,
    distortion: Tensor,
    metrics: Iterable[str],
    *,
    seed: int,
    samples: int,
) -> dict[str, np.ndarray]:
    """Return all quantities of the trial metrics, by name: (L, P, …) of the trials, (P, …) of the pairs.

    Args:
        x, target: (P, C, H, W) in [0,1].
        distortion: (L, P, C, H, W), in any precision.
        metrics: names of files in ``vaepipe/metrics/trial``.
        seed, samples: of the posterior samples. All images of a pair are decoded with the same noise, at
            every λ.
    """
    chosen = [find_trial_metric(name) for name in metrics]
    noise = posterior_noise(model, len(x), samples, seed, x.device)
    pairs = Pairs(x, target, decode_samples(model, x, noise), decode_samples(model, target, noise))
    arrays = {name: v.cpu().numpy() for metric in chosen for name, v in metric.measure_pairs(pairs).items()}
    rows: dict[str, list[np.ndarray]] = {}
    for d in distortion.to(x):  # one λ at a time, so that memory does not grow with L
        trial = Trial(pairs, d, decode_samples(model, (x + d).clamp(0, 1), noise))
        for metric in chosen:
            for name, value in metric.measure(trial).items():
                rows.setdefault(name, []).append(value.cpu().numpy())
    return arrays | {name: np.stack(parts) for name, parts in rows.items()}
