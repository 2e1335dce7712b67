"""Minibatch estimators of the aggregate posterior's log density, for the total correlation of β-TCVAE.

q(z) = 1/N Σ_n q(z|x_n). With one sample z_i from each posterior of a minibatch of B = M + 1 images,
log q(z_i) is estimated by a weighted sum over the batch's posteriors (Chen et al. 2018, appendix C):

``mss-chen``  stratified sampling as published: own component 1/N, one other (N−M)/(NM), the rest 1/M;
``mss``       stratified sampling: own component 1/N, every other (N−1)/(NM). It has the same expectation and
              the least variance, and is exact at B = N;
``mws``       weighted sampling: every component 1/(NB). It is biased; the constant has no gradient.

Two more are wrong. They are here to reproduce what published code computes (`AS_RELEASED`):

``mss-released``        the weights of ``mss-chen`` in the wrong places, as in the code of Chen et al.: 1/N
                        fills column 0 and (N−M)/(NM) column 1 (github.com/rtqichen/beta-tcvae/pull/1);
``mss-joint-weighted``  the same weights, added to each dimension before the sum over dimensions, so that the
                        joint density gets their D-th power (github.com/YannDubs/disentangling-vae).

Training alone uses these estimates: no minibatch value of the total correlation is reported.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from vaepipe.models.distributions import LOG_2PI
from vaepipe.models.estimators import AS_RELEASED, CORRECT
from vaepipe.models.logsumexp import exp_in_place, logsumexp


def log_weights(batch_size: int, dataset_size: int, estimator: str) -> Tensor:
    """(B, B) log weights: row i is the sample, column j the mixture component.

    Rows of ``mss`` and ``mss-chen`` sum to 1.

    Raises:
        ValueError: unknown estimator, or for MSS a batch of one or larger than the data set.
    """
    B, N, M = batch_size, dataset_size, batch_size - 1
    if estimator == "mws":
        return torch.full((B, B), -math.log(N * B), dtype=torch.float64)
    if B < 2 or N < B:
        raise ValueError(f"{estimator}: needs 2 ≤ batch ≤ data set, got a batch of {B} from {N}")
    weights = torch.full((B, B), 1 / M, dtype=torch.float64)
    if estimator == "mss":
        weights.fill_((N - 1) / (N * M)).fill_diagonal_(1 / N)
    elif estimator == "mss-chen":
        weights[torch.arange(B), (torch.arange(B) + 1) % B] = (N - M) / (N * M)
        weights.fill_diagonal_(1 / N)
    elif estimator in AS_RELEASED:
        weights[:, 0], weights[:, 1] = 1 / N, (N - M) / (N * M)
        weights[M - 1, 0] = (N - M) / (N * M)
    else:
        raise ValueError(f"estimator: {estimator!r} is not one of {', '.join(CORRECT + AS_RELEASED)}")
    return weights.log()


@lru_cache(maxsize=8)
def _cached_weights(
    batch_size: int, dataset_size: int, estimator: str, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """`log_weights` on a device, computed once for all steps."""
    return log_weights(batch_size, dataset_size, estimator).to(device, dtype)


def log_aggregate_posterior(
    z: Tensor, mean: Tensor, log_std: Tensor, dataset_size: int, estimator: str = "mss"
) -> tuple[Tensor, Tensor]:
    """Estimate log q(z) and Σ_k log q(z_k) from a minibatch.

    Args:
        z: (B, D), row i a sample of posterior i.
        mean, log_std: (B, D), the batch's posteriors.
        dataset_size: N, the number of images that the batch was drawn from.
        estimator: ``"mss"``, ``"mss-chen"``, ``"mws"`` or one of `AS_RELEASED`.

    Returns:
        (log_qz, log_qz_marginals): (B,) each, nats, constants included; marginals summed over dimensions.

    Raises:
        ValueError: unknown estimator, or for MSS a batch of one or larger than the data set.
    """
    weights = _cached_weights(len(z), dataset_size, estimator, z.dtype, z.device)  # i j
    power = z.shape[1] if estimator == "mss-joint-weighted" else 1
    return _LogAggregatePosterior.apply(z, mean, log_std, weights, power)


BLOCK = {"cpu": 2**16, "gpu": 2**26}
"""Numbers of (k, i, j) worked on at once. On a CPU they stay in the cache, where a pass over them is several
times faster."""


class _LogAggregatePosterior(torch.autograd.Function):
    """Both sums, and their gradients in closed form, a few dimensions at a time.

    The backward pass computes the densities anew, so that (D, B, B) numbers are never in memory. Index
    letters: sample i, mixture component j, dimension k.
    """

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, mean: Tensor, log_std: Tensor, weights: Tensor, power: int
    ) -> tuple[Tensor, Tensor]:
        joint, marginals = power * weights, []
        for k in _blocks(z):
            level = _log_normaliser(log_std, k)
            log_q = _scaled(z, mean, log_std, k).square_().mul_(-0.5).sub_(level)  # k i j
            joint += log_q.sum(0)
            marginals.append(logsumexp(log_q.add_(weights)))  # k i
        log_qz, log_qz_k = logsumexp(joint), torch.cat(marginals)
        ctx.save_for_backward(z, mean, log_std, weights, joint, log_qz, log_qz_k)
        return log_qz, log_qz_k.sum(0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g_joint: Tensor, g_marginals: Tensor) -> tuple[Any, ...]:
        z, mean, log_std, weights, joint, log_qz, log_qz_k = ctx.saved_tensors
        # i j: responsibilities of the components, times the gradient
        shared = exp_in_place(joint - log_qz[:, None]).mul_(g_joint[:, None])
        g_z, g_mean, g_log_std = (torch.empty_like(z) for _ in range(3))
        for k in _blocks(z):
            u = _scaled(z, mean, log_std, k)  # k i j
            log_q = u.square().mul_(-0.5).sub_(_log_normaliser(log_std, k)).add_(weights)
            p = exp_in_place(log_q.sub_(log_qz_k[k, :, None])).mul_(g_marginals[:, None]).add_(shared)
            pu = p * u
            inverse = (-log_std[:, k]).exp()  # j k
            g_z[:, k] = -torch.bmm(pu, inverse.T[:, :, None])[:, :, 0].T
            g_mean[:, k] = inverse * pu.sum(1).T
            g_log_std[:, k] = (u.mul_(pu).sum(1) - p.sum(1)).T
        return g_z, g_mean, g_log_std, None, None


def _log_normaliser(log_std: Tensor, k: slice) -> Tensor:
    """(k, 1, j) log σ + ½ log 2π of each component and dimension."""
    return (log_std[:, k] + 0.5 * LOG_2PI).T[:, None]


def _blocks(z: Tensor) -> list[slice]:
    """The dimensions of ``z`` (B, D), as many at a time as `BLOCK` allows."""
    B, D = z.shape
    size = max(1, BLOCK["cpu" if z.device.type == "cpu" else "gpu"] // B**2)
    return [slice(k, min(k + size, D)) for k in range(0, D, size)]


def _scaled(z: Tensor, mean: Tensor, log_std: Tensor, k: slice) -> Tensor:
    """(k, i, j) distance of sample i from the mean of component j, in the component's standard deviations."""
    return (z[:, k].T[:, :, None] - mean[:, k].T[:, None]).mul_((-log_std[:, k]).exp().T[:, None])


def total_correlation(
    z: Tensor, mean: Tensor, log_std: Tensor, dataset_size: int, estimator: str = "mss"
) -> Tensor:
    """Minibatch estimate of KL(q(z) ‖ Π_k q(z_k)), nats; arguments as `log_aggregate_posterior`."""
    log_qz, log_qz_marginals = log_aggregate_posterior(z, mean, log_std, dataset_size, estimator)
    return (log_qz - log_qz_marginals).mean()
