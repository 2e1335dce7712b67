"""How far apart the posteriors of two random images are, and the precision of the latent code behind it.

Δ₀ = KL(q(z|x_i) ‖ q(z|x_j)) is what an attack on the latent space starts from. In each dimension k

    I_k = ½ ln Var q(z_k) − E ln σ_k        nats

says how finely the code resolves its own range: with V_k = Var q(z_k), exp(I_k) is the number of standard
deviations of a posterior in one of the aggregate posterior. It does not change if z_k is stretched. If σ_k is
the same for all images, the mean of Δ₀ over independent pairs is exactly Σ_k (exp(2 I_k) − 1), whatever the
distribution of the means. Whatever the σ, that sum is at most twice the mean of Δ₀ (docs/statistics.md).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vaepipe.compute.randomness import seeded_generator
from vaepipe.metrics.estimate import Estimate
from vaepipe.models.distributions import DiagonalNormal

PAIRS = 20_000
"""Random pairs of images behind the quantiles of Δ₀."""
GROUPS = 20
"""Groups of pairs whose quantiles give the standard error."""


class Dimensions(NamedTuple):
    """Of each latent dimension, (D,) each.

    Attributes:
        variance: Var q(z_k) of the aggregate posterior.
        mean_log_std: E ln σ_k, nats.
        precision: I_k, nats.
        kurtosis: of the posterior means, 3 for a normal distribution; NaN where they are all equal.
    """

    variance: Tensor
    mean_log_std: Tensor
    precision: Tensor
    kurtosis: Tensor


def dimensions(q: DiagonalNormal) -> Dimensions:
    """Measure each dimension of the posteriors ``q`` (N, D)."""
    mean, log_std = q.mean.double(), q.log_std.double()
    centred = mean - mean.mean(0)
    variance = centred.square().mean(0) + (2 * log_std).exp().mean(0)
    kurtosis = centred.pow(4).mean(0) / centred.square().mean(0).square()
    return Dimensions(variance, log_std.mean(0), 0.5 * variance.log() - log_std.mean(0), kurtosis)


def squared_precision(q: DiagonalNormal) -> Estimate:
    """Σ_k (exp(2 I_k) − 1), with a standard error over images by the delta method."""
    found = dimensions(q)
    mean, log_std = q.mean.double(), q.log_std.double()
    level = (2 * found.precision).exp()
    moment = (mean - mean.mean(0)).square() + (2 * log_std).exp()
    influence = (level * (moment / found.variance - 1 - 2 * (log_std - found.mean_log_std))).sum(1)
    return Estimate(float((level - 1).sum()), float(influence.std()) / len(mean) ** 0.5)


def mean_pair_divergence(q: DiagonalNormal) -> Estimate:
    """Mean of KL(q_i ‖ q_j) over all ordered pairs i ≠ j, exact, with a standard error over images.

    A pair's KL is a sum of products of a function of i and one of j, so N² pairs cost N·D numbers.
    """
    mean, log_std = q.mean.double(), q.log_std.double()
    mean, N = mean - mean.mean(0), len(q.mean)
    moment, inverse = mean.square() + (2 * log_std).exp(), (-2 * log_std).exp()

    def summed(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Σ_j a_i b_j of each i and Σ_i a_i b_j of each j, summed over dimensions; the pair i = j counts."""
        return (a * b.sum(0)).sum(1), (b * a.sum(0)).sum(1)

    ones = torch.ones_like(mean)
    terms = [(0.5 * moment, inverse), (-mean, mean * inverse), (ones, 0.5 * mean.square() * inverse)]
    terms += [(-log_std, ones), (ones, log_std), (-0.5 * ones, ones)]
    as_first, as_second = (sum(parts) for parts in zip(*(summed(a, b) for a, b in terms)))
    # the divergence of a posterior from itself is 0, so only the number of pairs changes
    influence = (as_first + as_second) / (N - 1)
    return Estimate(float(as_first.sum()) / (N * (N - 1)), float(influence.std()) / N**0.5)


def pair_divergence_quantiles(q: DiagonalNormal, levels: tuple[float, ...], seed: int) -> list[Estimate]:
    """Quantiles of KL(q_i ‖ q_j) over random pairs of different images.

    The standard errors come from the spread of the quantiles of `GROUPS` groups of pairs.
    """
    random = seeded_generator(q.mean.device, "pairs of posteriors", seed)
    N = len(q.mean)
    first = torch.randint(N, (PAIRS,), generator=random, device=q.mean.device)
    second = (first + torch.randint(1, N, (PAIRS,), generator=random, device=q.mean.device)) % N
    doubles = DiagonalNormal(q.mean.double(), q.log_std.double())
    divergence = doubles.rows(first).kl(doubles.rows(second))
    at = torch.tensor(levels, dtype=torch.float64, device=divergence.device)
    whole = divergence.quantile(at)
    errors = divergence.view(GROUPS, -1).quantile(at, dim=1).std(1) / GROUPS**0.5
    return [Estimate(float(value), float(error)) for value, error in zip(whole, errors)]
