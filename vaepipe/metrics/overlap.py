"""The overlap of the posteriors of two images: the Bhattacharyya coefficient.

BC(i, j) = ∫ √(q(z|x_i) q(z|x_j)) dz is 1 for equal posteriors and 0 for posteriors that share no mass.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vaepipe.metrics.decomposition import BLOCK
from vaepipe.metrics.estimate import Estimate, estimate


class Overlap(NamedTuple):
    """Means over images.

    Attributes:
        coefficient, log_coefficient: of BC and of log BC over all pairs, with jackknife standard errors that
            leave out one image at a time, as pairs that share an image are not independent.
        nearest: of the largest BC with another image, with the standard error of a mean over images. It grows
            with the number of images.
    """

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
    """Mean over pairs, from the sums (N,) over the pairs of each image."""
    N, total = len(sums), sums.sum()
    without = (total - 2 * sums) / ((N - 1) * (N - 2))  # 0/0 of two images
    variance = (N - 1) * without.var(correction=0)
    return Estimate(float(total / (N * (N - 1))), float(variance) ** 0.5)
