"""Diagonal normals and likelihoods, the densities that models, objectives and attacks share; in nats."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


class DiagonalNormal(NamedTuple):
    """B normal distributions of D independent dimensions each: N(mean, diag exp(log_std)²).

    Attributes:
        mean: Means (B, D).
        log_std: Natural logarithms (B, D) of the standard deviations.
    """

    mean: Tensor
    log_std: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Return samples (…, B, D), made from standard normal ``noise`` of that shape (reparametrisation)."""
        return self.mean + self.log_std.exp() * noise

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log density (B,) of ``z`` (B, D), nats."""
        scaled = (z - self.mean) * (-self.log_std).exp()
        return -(0.5 * (scaled.square() + LOG_2PI) + self.log_std).sum(-1)

    def kl_terms(self, other: DiagonalNormal | None = None) -> Tensor:
        """Return KL(self ‖ other) of each dimension (B, D), nats, in closed form. None stands for N(0, I)."""
        if other is None:
            return 0.5 * (self.mean.square() + (2 * self.log_std).exp() - 1) - self.log_std
        log_ratio = self.log_std - other.log_std
        scaled = (self.mean - other.mean) * (-other.log_std).exp()
        return 0.5 * (
            (2 * log_ratio).expm1() - 2 * log_ratio + scaled.square()
        )  # exact to the last bits near 0

    def log_ratio_terms(self, z: Tensor, other: DiagonalNormal | None = None) -> Tensor:
        """Return log self(z) − log other(z) of each dimension (B, D). Its mean over z ~ self is the KL."""
        here = (z - self.mean) * (-self.log_std).exp()
        if other is None:
            return 0.5 * (z.square() - here.square()) - self.log_std
        there = (z - other.mean) * (-other.log_std).exp()
        return 0.5 * (there.square() - here.square()) + other.log_std - self.log_std

    def kl(self, other: DiagonalNormal | None = None) -> Tensor:
        """Return KL(self ‖ other) (B,), nats, summed over dimensions. None stands for N(0, I)."""
        return self.kl_terms(other).sum(-1)

    def kl_residuals(self, other: DiagonalNormal) -> Tensor:
        """Return residuals (B, 2 D), differentiable, half whose squared norm is KL(self ‖ other)."""
        log_ratio = self.log_std - other.log_std
        return torch.cat([(self.mean - other.mean) * (-other.log_std).exp(), width_residual(log_ratio)], -1)

    def rows(self, index: Tensor) -> DiagonalNormal:
        """Return the normals of these rows of the batch."""
        return DiagonalNormal(self.mean[index], self.log_std[index])


def width_residual(log_ratio: Tensor) -> Tensor:
    """Return sign(l) √(e²ˡ − 1 − 2l) of l = ln(σ / σ'). Half its square is what the widths add to a KL."""
    near = log_ratio.abs() < 0.1  # where the difference loses digits and its root has no gradient: a series
    small, large = torch.where(near, log_ratio, 0.0), torch.where(near, 1.0, log_ratio)
    series = (
        small
        * (
            2
            * (1 + small * (2 / 3 + small * (1 / 3 + small * (2 / 15 + small * (2 / 45 + small * 4 / 315)))))
        ).sqrt()
    )
    return torch.where(near, series, large.sign() * ((2 * large).expm1() - 2 * large).sqrt())


class Bernoulli(NamedTuple):
    """Independent Bernoulli pixels with ``logits`` (B, …); grey values count as probabilities."""

    logits: Tensor

    @property
    def mean(self) -> Tensor:
        """(B, …) probabilities."""
        return torch.sigmoid(self.logits)

    def log_prob(self, x: Tensor) -> Tensor:
        """(B,) log probability of ``x`` in [0,1]: Σ x·l − log(1 + eˡ) over pixels, exact for any logit l."""
        return (x * self.logits - F.softplus(self.logits)).flatten(1).sum(-1)


class Gaussian(NamedTuple):
    """N(mean, sigma²) for each pixel, with ``mean`` (B, …) and one ``sigma``."""

    mean: Tensor
    sigma: float

    def log_prob(self, x: Tensor) -> Tensor:
        """(B,) log density of ``x``, summed over pixels, normalisation included."""
        scaled = (x - self.mean) / self.sigma
        return -(0.5 * (scaled.square() + LOG_2PI) + math.log(self.sigma)).flatten(1).sum(-1)
