"""The KL term of a whole evaluation set, split as in Chen et al. 2018, eq. 2:

    E KL(q(z|x) ‖ p(z)) = I(z; x) + KL(q(z) ‖ Π_k q(z_k)) + Σ_k KL(q(z_k) ‖ p(z_k))
                          index-code  total correlation     dimension-wise KL

q(z) = 1/N Σ_j q(z|x_j) is the whole mixture, not a minibatch estimate. Values are in nats and in float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vaepipe.metrics.estimate import Estimate, estimate
from vaepipe.models.distributions import LOG_2PI
from vaepipe.models.logsumexp import logsumexp

BLOCK = 2**16
"""Pairs (sample, component) in memory at once, or N if that is more: 6 arrays, 3 MB, fit in caches."""


class Decomposition(NamedTuple):
    """Means over the samples, in nats, with Monte Carlo standard errors.

    Attributes:
        terms: (S, 3) the share of each sample in the first three estimates.
        dimensions: (D,) I(z_k; x).
    """

    mutual_information: Estimate
    total_correlation: Estimate
    dimension_wise_kl: Estimate
    kl: Estimate
    terms: Tensor
    dimensions: Tensor


@torch.no_grad()
def decompose(
    mean: Tensor, log_std: Tensor, samples: Tensor, rows: Tensor | None = None, *, block: int = BLOCK
) -> Decomposition:
    """Split the KL of N posteriors; exact except for the expectation over q(z), a mean over the samples.

    The standard errors treat the samples as independent draws from q(z), and the N posteriors as the whole
    population: I cannot exceed log N. One sample of each posterior (the default) is a stratified draw, which
    varies less than the standard error says.

    Args:
        mean, log_std: (N, D) posteriors.
        samples: (S, D).
        rows: (S,) index of the posterior that each sample was drawn from; default 0 … N−1, for S = N.
        block: pairs (sample, component) in memory at once; it does not change the result.

    Raises:
        ValueError: S ≠ N without ``rows``.

    Source: Chen et al. 2018, eq. 2, and their ``elbo_decomposition.py``.
    """
    joint, marginals, log_q = pointwise_information(mean, log_std, samples, rows, block=block)
    log_p = -0.5 * (samples.double().square() + LOG_2PI)  # i k
    terms = torch.stack([joint, marginals.sum(1) - joint, (log_q - marginals - log_p).sum(1)], dim=1)
    information, total_correlation, dimension_wise = map(estimate, terms.T)
    total = estimate(terms.sum(1))
    return Decomposition(information, total_correlation, dimension_wise, total, terms, marginals.mean(0))


def pointwise_information(
    mean: Tensor, log_std: Tensor, samples: Tensor, rows: Tensor | None = None, *, block: int = BLOCK
) -> tuple[Tensor, Tensor, Tensor]:
    """How much each sample reveals of the posterior that it was drawn from; arguments as `decompose`.

    Returns:
        (joint, marginals, log_q), float64: (S,) log q(z|x) − log q(z); (S, D) log q(z_k|x) − log q(z_k);
        (S, D) log q(z_k|x).
    """
    if rows is None:
        if len(samples) != len(mean):
            raise ValueError(
                f"{len(samples)} samples of {len(mean)} posteriors need rows, the posterior of each sample"
            )
        rows = torch.arange(len(mean), device=mean.device)
    mean, log_std, z = (t.double().T.contiguous() for t in (mean, log_std, samples))  # k j, k j, k i
    precision, level = (-log_std).exp() / math.sqrt(2), -log_std - 0.5 * LOG_2PI
    D, N = mean.shape
    log_N = torch.full_like(z[0], N).log()  # as many as samples: rounded as the sums' logarithms are
    joint, marginals, log_q = torch.empty_like(z[0]), torch.empty_like(z), torch.empty_like(z)
    for i in torch.arange(len(rows), device=z.device).split(max(1, block // N)):
        ratio = z.new_zeros(
            len(i), N
        )  # i j: log q(z_i|x_j) − log q(z_i|x_own), which is 0 for the own component
        for k in range(D):
            scaled = (z[k, i, None] - mean[k]).mul_(precision[k])  # i j
            term = torch.addcmul(level[k], scaled, scaled, value=-1)
            own = term.gather(1, rows[i, None])
            ratio += term.sub_(own)
            log_q[k, i] = own[:, 0]
            marginals[k, i] = log_N[i] - logsumexp(term)
        joint[i] = log_N[i] - logsumexp(ratio)
    return joint, marginals.T, log_q.T
