"""The mutual information gap: does one latent dimension, and only one, tell each factor of variation?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vaepipe.metrics.decomposition import BLOCK, pointwise_information


class MutualInformationGap(NamedTuple):
    """``value``: mean gap over factors, in [0,1]; ``gaps`` (F,) in [0,1]; ``information`` (F, D) estimates of I(z_k; v), nats,
    which sampling can make negative. NaN where a factor takes one value only."""

    value: float
    gaps: Tensor
    information: Tensor


@torch.no_grad()
def mutual_information_gap(
    mean: Tensor, log_std: Tensor, samples: Tensor, factors: Tensor, *, dimensions: Tensor | None = None, block: int = BLOCK
) -> MutualInformationGap:
    """Mean over factors v of (largest − second largest I(z_k; v)) / H(v), negative estimates counted as 0.

    I(z_k; v) = H(z_k) − H(z_k|v) = I(z_k; x) − I(z_k; x|v), with q(z_k) the mixture of all N posteriors and q(z_k|v) that of
    the images with this value. The images are all there are: where posteriors are narrower than the distance between
    neighbouring means, a dimension identifies the image, whatever it encodes, and its I(z_k; v) approaches H(v). The gap, a
    difference, suffers less.

    Args:
        mean, log_std: (N, D) posteriors.
        samples: (N, D), one of each posterior.
        factors: (N, F) integer classes.
        dimensions: (D,) I(z_k; x), as `decompose` gives of these samples; computed where it is None, most of the work.
        block: pairs (sample, component) in memory at once; it does not change the result.

    Source: Chen et al. 2018, section 4, and their ``disentanglement_metrics.py``, which takes H(v) of equally frequent values.
    """

    def information(rows) -> Tensor:
        """(D,) I(z_k; x), with the images of these rows as the whole set."""
        return pointwise_information(mean[rows], log_std[rows], samples[rows], block=block)[1].mean(0)

    N, D = mean.shape
    whole = information(slice(None)) if dimensions is None else dimensions  # k
    table, entropies = whole.new_full((factors.shape[1], D), torch.nan), whole.new_zeros(factors.shape[1])
    for v, values in enumerate(factors.T):
        classes, counts = values.unique(return_counts=True)
        if len(classes) == 1:
            continue
        frequencies = counts.double() / N
        table[v] = whole - sum(f * information(values == value) for f, value in zip(frequencies, classes))  # k
        entropies[v] = torch.special.entr(frequencies).sum()
    # a dimension of no information beside them: the second of a model with one dimension
    best = torch.cat([table.clamp(min=0), torch.zeros_like(table[:, :1])], dim=1).topk(2).values
    gaps = (best[:, 0] - best[:, 1]) / entropies
    return MutualInformationGap(float(gaps.nanmean()), gaps, table)
