"""Densities against torch.distributions, scipy and quadrature."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch.distributions import Independent, Normal, kl_divergence

from vaepipe.models.distributions import Bernoulli, DiagonalNormal, Gaussian


def random_normal(seed, batch=5, dims=3):
    random = torch.Generator().manual_seed(seed)
    draw = [torch.randn(batch, dims, generator=random, dtype=torch.float64) for _ in range(2)]
    return DiagonalNormal(draw[0], draw[1] * 0.7)


def as_torch(q):
    return Independent(Normal(q.mean, q.log_std.exp()), 1)


def test_kl_and_log_prob_agree_with_torch_distributions():
    p, q = random_normal(0), random_normal(1)
    z = random_normal(2).mean
    torch.testing.assert_close(p.kl(q), kl_divergence(as_torch(p), as_torch(q)))
    torch.testing.assert_close(p.log_prob(z), as_torch(p).log_prob(z))
    standard = DiagonalNormal(torch.zeros_like(p.mean), torch.zeros_like(p.mean))
    torch.testing.assert_close(p.kl(), p.kl(standard))


def test_kl_puts_the_target_s_variance_in_the_denominator():
    narrow, wide = (DiagonalNormal(torch.zeros(1, 1), torch.full((1, 1), s)) for s in (-2.0, 0.0))
    shifted = DiagonalNormal(torch.ones(1, 1), torch.zeros(1, 1))
    assert float(shifted.kl(narrow)) > 20 * float(shifted.kl(wide))


def test_samples_have_the_mean_and_spread():
    q = random_normal(3, 1, 2)
    z = q.sample(torch.randn(200_000, 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(z.mean(0), q.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(z.std(0), q.log_std.exp(), atol=0.02, rtol=0.01)


def test_bernoulli_is_normalised_and_finite_at_any_logit():
    logits = torch.tensor([[0.3, -2.0, 5.0]], dtype=torch.float64)
    images = torch.tensor(
        [[a, b, c] for a in (0.0, 1.0) for b in (0.0, 1.0) for c in (0.0, 1.0)], dtype=torch.float64
    )
    total = Bernoulli(logits.expand(8, 3)).log_prob(images).exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-12)
    expected = scipy.stats.bernoulli.logpmf(images[3].numpy(), torch.sigmoid(logits[0]).numpy()).sum()
    assert float(Bernoulli(logits).log_prob(images[3:4])) == pytest.approx(expected)
    extreme = Bernoulli(torch.tensor([[1e4, -1e4]])).log_prob(torch.tensor([[1.0, 0.0]]))
    assert float(extreme) == 0


def test_gaussian_is_a_normalised_density_in_nats():
    density = Gaussian(torch.tensor([[0.2, 0.7]], dtype=torch.float64), 0.1)
    x = torch.tensor([[0.25, 0.5]], dtype=torch.float64)
    expected = scipy.stats.norm.logpdf([0.25, 0.5], [0.2, 0.7], 0.1).sum()
    assert float(density.log_prob(x)) == pytest.approx(expected)
    grid = torch.linspace(-1, 2, 3001, dtype=torch.float64)[:, None]
    one = Gaussian(torch.full((3001, 1), 0.2, dtype=torch.float64), 0.1)
    assert np.trapezoid(one.log_prob(grid).exp(), grid[:, 0]) == pytest.approx(1, abs=1e-9)


def test_images_are_summed_over_all_pixels():
    x = torch.full((2, 3, 4, 4), 0.5)
    assert Gaussian(x, 1.0).log_prob(x)[0] == pytest.approx(-0.5 * 48 * math.log(2 * math.pi), rel=1e-6)
    assert Bernoulli(torch.zeros_like(x)).log_prob(x)[1] == pytest.approx(48 * math.log(0.5), rel=1e-6)
