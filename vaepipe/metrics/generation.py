"""What a model draws by itself: samples of the prior, and traversals of single latent dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaepipe.compute.randomness import seeded_generator

if TYPE_CHECKING:
    from vaepipe.models.interface import Model

SAMPLES = 16
DIMENSIONS = 6
"""Dimensions that are traversed: those with the largest KL."""
STEPS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
"""Values that a dimension takes, in standard deviations of the prior."""


def prior_samples(model: Model, seed: int, device: torch.device) -> Tensor:
    """Return (S, ...) means of p(x|z) at samples z of the prior, all layers sampled."""
    random = seeded_generator(device, "prior", seed)
    noise = torch.randn(SAMPLES, sum(model.latent_sizes), generator=random, device=device)
    *lower, top = noise.split(list(model.latent_sizes), 1)
    return decode_from_top(model, top, list(lower))


def traversals(model: Model, mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
    """Return (T,) the top layer's dimensions of largest mean KL, and (T, V, ...) means of p(x|z).

    In each row one of them takes the values of `STEPS` and the others are as in the first posterior; lower
    layers are at their means.

    Args:
        mean, log_std: (N, D) top layer's posteriors.
    """
    kl = 0.5 * (mean.square() + (2 * log_std).exp() - 1) - log_std
    order = kl.mean(0).nan_to_num(posinf=0.0).argsort(descending=True, stable=True)[:DIMENSIONS]
    steps = torch.tensor(STEPS, device=mean.device, dtype=mean.dtype)
    z = mean[0].repeat(len(order), len(steps), 1)
    for row, dimension in enumerate(order):
        z[row, :, dimension] = steps
    pictures = decode_from_top(model, z.flatten(0, 1))
    return order, pictures.unflatten(0, (len(order), len(steps)))


def decode_from_top(model: Model, top: Tensor, noise: list[Tensor] | None = None) -> Tensor:
    """Return the means of p(x|z) for samples ``top`` (B, D) of the top layer.

    Args:
        noise: standard normal, (B, D_l) of each lower layer, the bottom one first; None takes the means of
            their priors.
    """
    sizes = model.latent_sizes[:-1]
    samples = [top.new_zeros(len(top), size) for size in sizes] + [top]
    for layer in reversed(range(len(sizes))):
        eps = torch.zeros_like(samples[layer]) if noise is None else noise[layer]
        prior = model.priors(*samples)[layer]
        samples[layer] = eps if prior is None else prior.mean + prior.log_std.exp() * eps
    return model.decode(*samples).mean
