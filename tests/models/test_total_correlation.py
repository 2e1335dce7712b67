"""Minibatch estimators against brute force, closed forms and finite differences."""

import itertools
import math

import numpy as np
import pytest
import scipy.special
import torch

from vaepipe.models.distributions import DiagonalNormal
from vaepipe.models.estimators import AS_RELEASED
from vaepipe.models.total_correlation import (
    log_aggregate_posterior,
    log_weights,
    total_correlation,
)

ESTIMATORS = ["mss", "mss-chen", "mws", "mss-released", "mss-joint-weighted"]


def batch(B, D, seed=0):
    random = torch.Generator().manual_seed(seed)
    z, mean, log_std = (torch.randn(B, D, generator=random, dtype=torch.float64) for _ in range(3))
    return z, mean, 0.4 * log_std


def brute_force(z, mean, log_std, N, estimator):
    """Loops over samples, components and dimensions, in the words of Chen et al.'s appendix C."""
    B, D = z.shape
    M = B - 1
    log_qz, log_marginals = np.empty(B), np.empty(B)
    for i in range(B):
        weight = np.empty(B)
        for j in range(B):
            if estimator == "mws":
                weight[j] = 1 / (N * B)
            elif estimator in AS_RELEASED:
                weight[j] = {0: 1 / N, 1: (N - M) / (N * M)}.get(j, 1 / M)
                if (i, j) == (M - 1, 0):
                    weight[j] = (N - M) / (N * M)
            elif i == j:
                weight[j] = 1 / N
            elif estimator == "mss":
                weight[j] = (N - 1) / (N * M)
            else:
                weight[j] = (N - M) / (N * M) if j == (i + 1) % B else 1 / M
        log_q = np.array(
            [
                [
                    math.log(
                        math.exp(-(((z[i, k] - mean[j, k]) / math.exp(log_std[j, k])) ** 2) / 2)
                        / math.exp(log_std[j, k])
                        / math.sqrt(2 * math.pi)
                    )
                    for k in range(D)
                ]
                for j in range(B)
            ]
        )
        joint_weight = weight**D if estimator == "mss-joint-weighted" else weight
        log_qz[i] = scipy.special.logsumexp(log_q.sum(1), b=joint_weight)
        log_marginals[i] = sum(scipy.special.logsumexp(log_q[:, k], b=weight) for k in range(D))
    return log_qz, log_marginals


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("B", "N"), [(2, 2), (5, 100), (7, 7), (4, 9)])
def test_against_loops(estimator, B, N):
    z, mean, log_std = batch(B, 3)
    found = log_aggregate_posterior(z, mean, log_std, N, estimator)
    expected = brute_force(z.numpy(), mean.numpy(), log_std.numpy(), N, estimator)
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-10)


@pytest.mark.parametrize("estimator", ["mss", "mss-chen"])
@pytest.mark.parametrize(("B", "N"), [(5, 100), (2, 3), (64, 64), (128, 50000)])
def test_weights_sum_to_one_with_one_over_n_on_the_diagonal(estimator, B, N):
    weights = log_weights(B, N, estimator).exp()
    torch.testing.assert_close(weights.sum(1), torch.ones(B, dtype=torch.float64))
    torch.testing.assert_close(weights.diagonal(), torch.full((B,), 1 / N, dtype=torch.float64))
    assert (weights >= 0).all()


@pytest.mark.parametrize("estimator", ["mss"])
def test_mss_is_exact_when_the_batch_is_the_data_set(estimator):
    z, mean, log_std = batch(9, 3)
    log_qz, log_marginals = log_aggregate_posterior(z, mean, log_std, 9, estimator)
    log_q = torch.stack(
        [DiagonalNormal(mean[j : j + 1], log_std[j : j + 1]).log_prob(z) for j in range(9)], 1
    )
    torch.testing.assert_close(log_qz, torch.logsumexp(log_q, 1) - math.log(9))
    single = [
        torch.logsumexp(
            -0.5 * ((z[:, None, k] - mean[:, k]) / log_std[:, k].exp()) ** 2
            - log_std[:, k]
            - 0.5 * math.log(2 * math.pi),
            1,
        )
        - math.log(9)
        for k in range(3)
    ]
    torch.testing.assert_close(log_marginals, sum(single))


def test_both_mss_are_unbiased_for_qz_and_the_symmetric_one_varies_less():
    N, B, own = 6, 5, 2
    z, mean, log_std = batch(N, 2, seed=3)
    components = torch.stack(
        [DiagonalNormal(mean[j : j + 1], log_std[j : j + 1]).log_prob(z[own : own + 1]) for j in range(N)]
    )
    variance = {}
    for name in ("mss", "mss-chen"):
        batches = [
            torch.tensor([own, *rest])
            for rest in itertools.permutations([j for j in range(N) if j != own], B - 1)
        ]
        values = [
            float(log_aggregate_posterior(z[i], mean[i], log_std[i], N, name)[0][0].exp()) for i in batches
        ]
        assert np.mean(values) == pytest.approx(
            float(components.exp().mean()), rel=1e-10
        )  # all batches there are
        variance[name] = np.var(values)
    assert variance["mss"] < 0.9 * variance["mss-chen"]


def test_equal_posteriors_have_no_total_correlation_under_mss_and_a_constant_one_under_mws():
    z, mean, log_std = batch(6, 4)
    mean, log_std = mean[:1].expand(6, 4), log_std[:1].expand(6, 4)
    for name in ("mss", "mss-chen"):
        assert float(total_correlation(z, mean, log_std, 50, name)) == pytest.approx(0, abs=1e-12)
    assert float(total_correlation(z, mean, log_std, 50, "mws")) == pytest.approx(3 * math.log(50))


def test_the_data_sets_size_moves_mws_by_a_constant_only_but_mss_s_gradients():
    z, mean, log_std = batch(6, 4)

    def value_and_gradient(N, name):
        m = mean.clone().requires_grad_()
        tc = total_correlation(z, m, log_std, N, name)
        return tc.item(), torch.autograd.grad(tc, m)[0]

    (a, ga), (b, gb) = value_and_gradient(100, "mws"), value_and_gradient(1000, "mws")
    assert b - a == pytest.approx(3 * math.log(10))
    torch.testing.assert_close(ga, gb)
    assert not torch.allclose(value_and_gradient(100, "mss")[1], value_and_gradient(1000, "mss")[1])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gradients_by_finite_differences(estimator):
    inputs = tuple(t.requires_grad_() for t in batch(4, 2))
    assert torch.autograd.gradcheck(lambda z, m, s: total_correlation(z, m, s, 20, estimator), inputs)


def test_the_sum_runs_over_components_not_over_samples():
    z, mean, log_std = batch(5, 3)
    right = log_aggregate_posterior(z, mean, log_std, 20)[0]
    log_q = torch.stack(
        [DiagonalNormal(mean[j : j + 1], log_std[j : j + 1]).log_prob(z) for j in range(5)], 1
    )
    wrong = torch.logsumexp(log_weights(5, 20, "mss") + log_q, 0)
    assert not torch.allclose(right, wrong, atol=0.1)


def test_mss_comes_within_a_nat_of_the_exact_value_on_a_toy_where_the_shipped_matrix_does_not():
    N, D, B, variance = 4000, 10, 64, 0.25
    random = torch.Generator().manual_seed(0)
    mean = torch.randn(N, D, generator=random) * math.sqrt(1 - variance)
    log_std = torch.full((N, D), 0.5 * math.log(variance))
    z = mean + log_std.exp() * torch.randn(N, D, generator=random)
    rows = torch.randperm(N, generator=random)[:400]
    log_q = -0.5 * ((z[rows, None] - mean) ** 2 / variance + math.log(2 * math.pi * variance))
    exact = float(
        (torch.logsumexp(log_q.sum(2), 1) - torch.logsumexp(log_q, 1).sum(1) + (D - 1) * math.log(N)).mean()
    )
    values = [
        float(total_correlation(*(t[i] for t in (z, mean, log_std)), N))
        for i in torch.randperm(N, generator=random)[:1600].view(-1, B)
    ]
    assert abs(np.mean(values) - exact) < 1
    shipped = torch.full((B, B), 1 / (B - 1))
    shipped[:, 0], shipped[:, 1] = 1 / N, (N - B + 1) / (N * (B - 1))
    i = rows[:B]
    log_q = -0.5 * ((z[i, None] - mean[i]) ** 2 / variance + math.log(2 * math.pi * variance))
    wrong = torch.logsumexp(shipped.log() + log_q.sum(2), 1) - torch.logsumexp(
        shipped.log()[:, :, None] + log_q, 1
    ).sum(1)
    assert abs(float(wrong.mean()) - exact) > 1


def test_what_cannot_be_estimated_is_refused():
    z, mean, log_std = batch(4, 2)
    with pytest.raises(ValueError, match="a batch of 4 from 3"):
        log_aggregate_posterior(z, mean, log_std, 3)
    with pytest.raises(ValueError, match="'tc' is not one of"):
        log_aggregate_posterior(z, mean, log_std, 30, "tc")
    far = torch.full((4, 2), 1e4, dtype=torch.float32)
    assert torch.isfinite(log_aggregate_posterior(far, -far, torch.zeros(4, 2), 30)[0]).all()


@pytest.mark.parametrize("block", [1, 60, 10**6])
def test_dimensions_taken_one_by_one_or_together_give_one_answer(monkeypatch, block):
    import vaepipe.models.total_correlation as module

    variables = [v.requires_grad_() for v in batch(6, 5)]
    monkeypatch.setattr(module, "BLOCK", {"cpu": block})
    found = total_correlation(*variables, 50)
    gradients = torch.autograd.grad(found, variables)
    z, mean, log_std = variables
    log_q = DiagonalNormal(mean, log_std)
    dense = torch.stack(
        [-0.5 * ((z - m) / s.exp()) ** 2 - s - 0.5 * math.log(2 * math.pi) for m, s in zip(*log_q)], 1
    )  # i j k
    w = log_weights(6, 50, "mss")
    expected = (
        torch.logsumexp(w + dense.sum(-1), 1) - torch.logsumexp(w[:, :, None] + dense, 1).sum(-1)
    ).mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    for a, b in zip(gradients, torch.autograd.grad(expected, variables)):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_released_weights_are_those_of_the_flat_stride():
    """The published lines: 1/M, then every (M + 1)-th number of the flat matrix, from 0 and from 1."""
    B, N = 5, 100
    M, flat = B - 1, torch.full((B * B,), 1 / (B - 1), dtype=torch.float64)
    flat[:: M + 1], flat[1 :: M + 1] = 1 / N, (N - M) / (N * M)
    expected = flat.view(B, B)
    expected[M - 1, 0] = (N - M) / (N * M)
    weights = log_weights(B, N, "mss-released").exp()
    torch.testing.assert_close(weights, expected)
    assert float(weights[M - 1].sum()) == pytest.approx(1.23)  # a correct row sums to 1


def test_weights_added_in_each_dimension_show_as_information():
    """Far apart posteriors hold ln N nats about the image; this estimator says D ln(B − 1) more or less."""
    B, D, N = 64, 10, 5000
    _, mean, log_std = batch(B, D)
    q = DiagonalNormal(100 * mean, log_std)
    log_qz, _ = log_aggregate_posterior(q.mean, *q, N, "mss-joint-weighted")
    information = (q.log_prob(q.mean) - log_qz).mean()
    assert float(information) == pytest.approx(D * math.log(B - 1), rel=0.05)


def test_gradient_of_released_weights_is_that_of_mws():
    """The misplaced weights differ from one number in two of B columns only."""
    z, mean, log_std = batch(256, 5)
    gradients = []
    for estimator in ("mss-released", "mws"):
        inputs = [t.clone().requires_grad_() for t in (z, mean, log_std)]
        total_correlation(*inputs, 40000, estimator).backward()
        gradients.append(torch.cat([t.grad.flatten() for t in inputs]))
    assert float(torch.cosine_similarity(*gradients, dim=0)) > 0.99
