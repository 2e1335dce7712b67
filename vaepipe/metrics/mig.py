"""The mutual information gap: whether exactly one latent dimension encodes each factor of variation."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vaepipe.metrics.decomposition import BLOCK, pointwise_information
from vaepipe.metrics.estimate import estimate


class MutualInformationGap(NamedTuple):
    """NaN stands for factors that take one value only.

    Attributes:
        value: mean gap over factors, in [0,1].
        standard_error: Monte-Carlo error over the samples, with the two best dimensions fixed.
        gaps: (F,) in [0,1].
        information: (F, D) estimates of I(z_k; v), nats; sampling can make them negative.
    """

    value: float
    standard_error: float
    gaps: Tensor
    information: Tensor


@torch.no_grad()
def mutual_information_gap(
    mean: Tensor, log_std: Tensor, samples: Tensor, factors: Tensor, *, block: int = BLOCK
) -> MutualInformationGap:
    """Mean over factors v of (largest − second largest I(z_k; v)) / H(v), negative estimates counted as 0.

    I(z_k; v) = H(z_k) − H(z_k|v) = I(z_k; x) − I(z_k; x|v), with q(z_k) the mixture of all N posteriors and
    q(z_k|v) that of the images with this value. The N images are the whole population: if posteriors are
    narrower than the distance between neighbouring means, a dimension identifies the image, whatever it
    encodes, and I(z_k; v) approaches H(v). The gap, a difference, suffers less.

    Args:
        mean, log_std: (N, D) posteriors.
        samples: (N, D), one of each posterior.
        factors: (N, F) integer classes.
        block: pairs (sample, component) in memory at once; it does not change the result.

    Source: Chen et al. 2018, section 4, and their ``disentanglement_metrics.py``, which takes H(v) of
    equally frequent values.
    """

    def information(rows: Tensor | slice) -> Tensor:
        """(S, D) share of each sample in I(z_k; x), with the images of these rows as the whole population."""
        return pointwise_information(mean[rows], log_std[rows], samples[rows], block=block)[1]

    N, D = mean.shape
    whole = information(slice(None))  # i k
    none = 0 * whole[:, 0]
    table = whole.new_full((factors.shape[1], D), torch.nan)
    gaps = whole.new_full(factors.shape[1:], torch.nan)
    shares = []  # (N,) each: the share of every sample in a factor's gap
    for v, values in enumerate(factors.T):
        classes, counts = values.unique(return_counts=True)
        if len(classes) == 1:
            continue
        pointwise = whole.clone()
        for value in classes:
            pointwise[values == value] -= information(values == value)
        table[v] = pointwise.mean(0)
        entropy = torch.special.entr(counts.double() / N).sum()
        # one more dimension, without information: the second best of a model with one dimension
        best = torch.cat([table[v].clamp(min=0), table.new_zeros(1)]).topk(2)
        gaps[v] = (best.values[0] - best.values[1]) / entropy
        first, second = (
            pointwise[:, k] if value > 0 else none for k, value in zip(best.indices, best.values)
        )
        shares.append((first - second) / entropy)
    error = estimate(torch.stack(shares).mean(0)).standard_error if shares else math.nan
    return MutualInformationGap(float(gaps.nanmean()), error, gaps, table)
