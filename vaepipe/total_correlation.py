"""Minibatch estimators of the aggregate posterior's log density, for the total correlation of β-TCVAE.

q(z) = 1/N Σ_n q(z|x_n). With one sample z_i from each posterior of a minibatch of B = M + 1 images,
log q(z_i) is estimated by a weighted sum over the batch's posteriors (Chen et al. 2018, appendix C):

``mss-chen``  minibatch stratified sampling as published: own component 1/N, one other (N−M)/(NM), the rest 1/M;
``mss``       own component 1/N, every other (N−1)/(NM). Same expectation, least variance, exact at B = N;
``mws``       minibatch weighted sampling: every component 1/(NB). Biased; its constant has no gradient.

Used for training only: no minibatch value of the total correlation is ever reported.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from vaepipe.distributions import LOG_2PI


def log_weights(batch_size: int, dataset_size: int, estimator: str) -> Tensor:
    """(B, B) log weights: row i is the sample, column j the mixture component. Rows of both MSS matrices sum to 1."""
    B, N, M = batch_size, dataset_size, batch_size - 1
    if estimator == "mws":
        return torch.full((B, B), -math.log(N * B), dtype=torch.float64)
    if B < 2 or N < B:
        raise ValueError(f"{estimator}: needs 2 ≤ batch ≤ data set, got a batch of {B} from {N}")
    if estimator == "mss":
        weights = torch.full((B, B), (N - 1) / (N * M), dtype=torch.float64)
    elif estimator == "mss-chen":
        weights = torch.full((B, B), 1 / M, dtype=torch.float64)
        weights[torch.arange(B), (torch.arange(B) + 1) % B] = (N - M) / (N * M)
    else:
        raise ValueError(f"estimator: {estimator!r} is not one of mss, mss-chen, mws")
    return weights.fill_diagonal_(1 / N).log()


@lru_cache(maxsize=8)
def _cached_weights(batch_size: int, dataset_size: int, estimator: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Made once, not in every step."""
    return log_weights(batch_size, dataset_size, estimator).to(device, dtype)


def log_aggregate_posterior(
    z: Tensor, mean: Tensor, log_std: Tensor, dataset_size: int, estimator: str = "mss"
) -> tuple[Tensor, Tensor]:
    """Estimate log q(z) and Σ_k log q(z_k) from a minibatch.

    Args:
        z: (B, D), row i a sample of posterior i.
        mean, log_std: (B, D), the batch's posteriors.
        dataset_size: N, the number of images that the batch was drawn from.
        estimator: ``"mss"``, ``"mss-chen"`` or ``"mws"``.

    Returns:
        (log_qz, log_qz_marginals): (B,) each, nats, constants included; marginals summed over dimensions.

    Raises:
        ValueError: unknown estimator, or for MSS a batch of one or larger than the data set.
    """
    weights = _cached_weights(len(z), dataset_size, estimator, z.dtype, z.device)  # i j
    scaled = (z.T[:, :, None] - mean.T[:, None]) * (-log_std).exp().T[:, None]  # k i j
    log_q = -0.5 * scaled.square() - (log_std + 0.5 * LOG_2PI).T[:, None]  # k i j: log q(z_i,k | x_j)
    log_qz = _logsumexp(weights + log_q.sum(0))  # i
    log_qz_marginals = _logsumexp(weights + log_q).sum(0)  # i
    return log_qz, log_qz_marginals


def _logsumexp(v: Tensor) -> Tensor:
    """`torch.logsumexp` over the last axis, many times faster on CPUs where exp underflows: there the vector library
    leaves its fast path, and denormal numbers slow down what follows. Terms below eps³ of the largest do not change the sum."""
    largest = v.detach().amax(-1, keepdim=True)
    shifted = (v - largest).clamp(min=3 * math.log(torch.finfo(v.dtype).eps))
    return shifted.exp().sum(-1).log() + largest[..., 0]


def total_correlation(z: Tensor, mean: Tensor, log_std: Tensor, dataset_size: int, estimator: str = "mss") -> Tensor:
    """Minibatch estimate of KL(q(z) ‖ Π_k q(z_k)), a scalar in nats; arguments as `log_aggregate_posterior`."""
    log_qz, log_qz_marginals = log_aggregate_posterior(z, mean, log_std, dataset_size, estimator)
    return (log_qz - log_qz_marginals).mean()
