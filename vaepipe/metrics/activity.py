"""Which latent dimensions a model uses, and whether its latent space collapsed or exploded."""

from __future__ import annotations

import torch
from torch import Tensor

from vaepipe.metrics.estimate import Estimate
from vaepipe.models.distributions import DiagonalNormal

ACTIVE_VARIANCE = 0.01
"""Burda et al. 2016, section 5.2: variances lie clearly above or below."""

EXPLODED_SCALE = 10.0
"""In standard deviations of the prior. The aggregate posterior should match the prior, of scale 1; a root
mean square of 10 costs 10²/2 = 50 nats per image in one dimension, too many for a KL term that works."""


def active_units(mean: Tensor) -> Tensor:
    """(D,) whether the posterior means ``mean`` (N, D) of each dimension vary over images by more than
    `ACTIVE_VARIANCE`.

    Source: Burda et al. 2016, section 5.2.
    """
    return mean.double().var(0, correction=0) > ACTIVE_VARIANCE


def count_active(mean: Tensor, resamples: int = 200) -> Estimate:
    """The number of active dimensions of ``mean`` (N, D), with a bootstrap standard error over images."""
    N = len(mean)
    random = torch.Generator().manual_seed(0)
    count = torch.stack(
        [torch.randint(N, (N,), generator=random).bincount(minlength=N) for _ in range(resamples)]
    )
    weights = (count.double() / N).to(mean.device)  # r n
    centred = mean.double() - mean.double().mean(0)
    variance = weights @ centred.square() - (weights @ centred).square()  # r k
    counts = (variance > ACTIVE_VARIANCE).sum(1).double()
    return Estimate(int(active_units(mean).sum()), float(counts.std()))


def kl_per_dimension(mean: Tensor, log_std: Tensor) -> Tensor:
    """(D,) KL(q(z_k|x) ‖ N(0,1)), nats, mean over images, in closed form; ``mean``, ``log_std``: (N, D)."""
    return DiagonalNormal(mean.double(), log_std.double()).kl_terms().mean(0)


def latent_state(mean: Tensor, log_std: Tensor) -> str:
    """The state of a latent space, from posteriors ``mean``, ``log_std`` (N, D).

    ``exploded``: the root mean square of the means of an active dimension, or the mean σ of any dimension, is
    above `EXPLODED_SCALE`, or a number is not finite. ``collapsed``: not exploded, and no dimension is
    active. ``ok``: neither.
    """
    mean, sigma = mean.double(), log_std.double().exp()
    active = active_units(mean)
    scales = torch.cat([mean.square().mean(0).sqrt()[active], sigma.mean(0)])
    # ≤ is false for NaN, too
    if not (mean.isfinite().all() and (scales <= EXPLODED_SCALE).all()):
        return "exploded"
    return "ok" if active.any() else "collapsed"
