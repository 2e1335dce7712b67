"""A tighter bound on the likelihood than the ELBO."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def importance_weighted(log_weights: Tensor) -> Tensor:
    """(B,) log 1/K Σ_k w_k, whose expectation is a lower bound on log p(x).

    At K = 1 the bound is the ELBO; it gets tighter with every sample.

    Args:
        log_weights: (K, B) log p(x|z_k) + log p(z_k) − log q(z_k|x) of K samples z_k ~ q(z|x), nats.

    Source: Burda et al. 2016, section 3.
    """
    return torch.logsumexp(log_weights, dim=0) - math.log(len(log_weights))
