"""Samples of posteriors, decoded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vaepipe.compute.randomness import seeded_generator
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
