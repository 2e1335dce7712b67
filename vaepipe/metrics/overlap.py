"""How much the posteriors of different images overlap, by the Bhattacharyya coefficient BC(i, j) = ∫ √(q(z|x_i) q(z|x_j)) dz:
1 where they are the same, 0 where they have nothing in common."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vaepipe.metrics.decomposition import BLOCK
from vaepipe.metrics.estimate import Estimate, estimate


class Overlap(NamedTuple):
    """``coefficient`` and ``log_coefficient``: means of BC and of log BC over all pairs of images, with jackknife standard
    errors (an image left out at a time: pairs that share an image are not independent). ``nearest``: mean over images of the
    largest BC with another image; it grows with the number of images, and its standard error is that of a mean over images."""

    coefficient: Estimate
    log_coefficient: Estimate
    nearest: Estimate


@torch.no_grad()
def pairwise_overlap(mean: Tensor, log_std: Tensor, *, limit: int = 1000, block: int = BLOCK) -> Overlap:
    """Pairwise overlap of the first ``limit`` of the posteriors ``mean``, ``log_std`` (N, D), N ≥ 2.

    ``block``: pairs of posteriors, times D, in memory at once; it does not change the result.
    """
    mean, log_std = mean[:limit].double(), log_std[:limit].double()
    N, D = mean.shape
    sums, log_sums, nearest = (mean.new_empty(N) for _ in range(3))
    for i in torch.arange(N, device=mean.device).split(max(1, block // (N * D))):
        log_bc = log_bhattacharyya(mean[i, None], log_std[i, None], mean, log_std)  # i j
        log_sums[i] = log_bc.scatter(1, i[:, None], 0).sum(1)
        bc = log_bc.exp().scatter(1, i[:, None], 0)
        sums[i], nearest[i] = bc.sum(1), bc.amax(1)
    return Overlap(_jackknife(sums), _jackknife(log_sums), estimate(nearest))


def log_bhattacharyya(mean_i: Tensor, log_std_i: Tensor, mean_j: Tensor, log_std_j: Tensor) -> Tensor:
    """(…) log BC of diagonal normals (…, D) that broadcast; a sum over dimensions, never above 0."""
    variance = ((2 * log_std_i).exp() + (2 * log_std_j).exp()) / 2
    distance = (mean_i - mean_j).square() / (8 * variance)
    return -(distance + 0.5 * (variance.log() - (log_std_i + log_std_j))).sum(-1)


def _jackknife(sums: Tensor) -> Estimate:
    """Mean over pairs from each image's sum over its pairs, (N,)."""
    N, total = len(sums), sums.sum()
    without = (total - 2 * sums) / ((N - 1) * (N - 2))  # 0/0 of two images
    variance = (N - 1) * without.var(correction=0)
    return Estimate(float(total / (N * (N - 1))), float(variance) ** 0.5)
