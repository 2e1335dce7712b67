"""Metrics of posteriors against loops, closed forms and repeated draws."""

import inspect
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vaepipe import metrics
from vaepipe.metrics import (
    decompose,
    importance_weighted,
    latent_state,
    mutual_information_gap,
    pairwise_overlap,
    precision,
)
from vaepipe.metrics.overlap import log_bhattacharyya
from vaepipe.models.distributions import DiagonalNormal

D64 = torch.float64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def posteriors(N, D, seed=0, log_std=-0.7, spread=0.4):
    random = generator(seed)
    mean = torch.randn(N, D, generator=random, dtype=D64)
    log_std = log_std + spread * torch.randn(N, D, generator=random, dtype=D64)
    return mean, log_std, mean + log_std.exp() * torch.randn(N, D, generator=random, dtype=D64)


def densities(mean, log_std, samples):
    """(S, N, D) log q(z_ik | x_j), by SciPy."""
    return scipy.stats.norm.logpdf(samples.numpy()[:, None], mean.numpy(), log_std.exp().numpy())


def brute_force(mean, log_std, samples, rows):
    """(S, 3) terms, in the words of Chen et al.'s eq. 2, one sample, component and dimension at a time."""
    log_q, N = densities(mean, log_std, samples), len(mean)
    terms = []
    for i, own in enumerate(rows):
        log_qz = scipy.special.logsumexp([sum(log_q[i, j]) for j in range(N)]) - math.log(N)
        log_marginals = [
            scipy.special.logsumexp([log_q[i, j, k] for j in range(N)]) - math.log(N)
            for k in range(mean.shape[1])
        ]
        log_p = scipy.stats.norm.logpdf(samples[i].numpy()).sum()
        terms.append([log_q[i, own].sum() - log_qz, log_qz - sum(log_marginals), sum(log_marginals) - log_p])
    return torch.tensor(np.array(terms))


# --- decomposition


@pytest.mark.parametrize(("N", "D"), [(1, 1), (2, 3), (7, 2), (30, 4)])
def test_decomposition_against_loops(N, D):
    mean, log_std, samples = posteriors(N, D)
    result = decompose(mean, log_std, samples)
    expected = brute_force(mean, log_std, samples, range(N))
    torch.testing.assert_close(result.terms, expected, rtol=1e-12, atol=1e-12)
    values = [
        result.mutual_information.value,
        result.total_correlation.value,
        result.dimension_wise_kl.value,
        result.kl.value,
    ]
    assert values == pytest.approx([*expected.mean(0).tolist(), expected.sum(1).mean().item()], abs=1e-12)
    if N > 1:
        errors = [e.standard_error for e in result[:4]]
        assert errors == pytest.approx([*scipy.stats.sem(expected), scipy.stats.sem(expected.sum(1))])


def test_several_samples_of_a_posterior():
    mean, log_std, _ = posteriors(6, 3)
    rows = torch.tensor([5, 0, 0, 3, 5, 2, 1, 0])
    samples = (
        DiagonalNormal(mean, log_std).rows(rows).sample(torch.randn(8, 3, generator=generator(1), dtype=D64))
    )
    expected = brute_force(mean, log_std, samples, rows.tolist())
    torch.testing.assert_close(
        decompose(mean, log_std, samples, rows).terms, expected, rtol=1e-12, atol=1e-12
    )
    with pytest.raises(ValueError, match="8 samples of 6 posteriors need rows"):
        decompose(mean, log_std, samples)


def test_terms_telescope_to_the_kl():
    mean, log_std, samples = posteriors(300, 5)
    result = decompose(mean, log_std, samples)
    log_p = -0.5 * (samples.square() + math.log(2 * math.pi)).sum(1)
    torch.testing.assert_close(result.terms.sum(1), DiagonalNormal(mean, log_std).log_prob(samples) - log_p)
    closed_form = metrics.kl_per_dimension(mean, log_std).sum().item()
    assert abs(result.kl.value - closed_form) < 4 * result.kl.standard_error


@pytest.mark.parametrize("N", [1, 3, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, D64])
def test_identical_posteriors_tell_nothing(N, dtype):
    mean, log_std = torch.full((N, 3), 0.7, dtype=dtype), torch.full((N, 3), -0.3, dtype=dtype)
    result = decompose(mean, log_std, mean + torch.randn(N, 3, generator=generator(), dtype=dtype))
    assert result.terms[:, :2].abs().max() == 0
    assert result.dimensions.abs().max() == 0


def test_far_posteriors_are_identified():
    mean, log_std, samples = posteriors(50, 2, log_std=-12)
    result = decompose(mean, log_std, samples)
    assert result.mutual_information.value == pytest.approx(math.log(50), abs=1e-6)
    assert result.dimensions.tolist() == pytest.approx([math.log(50)] * 2, abs=1e-3)


@pytest.mark.parametrize("log_std", [-20.0, -3.0, 0.0, 2.0])
def test_information_is_at_most_log_n(log_std):
    result = decompose(*posteriors(40, 3, log_std=log_std))
    assert (result.terms[:, 0] <= math.log(40) + 1e-12).all()


def test_independent_dimensions_have_no_total_correlation():
    """All pairs of a grid of means: the mixture is a product."""
    axis = torch.linspace(-2, 2, 25, dtype=D64)
    mean = torch.cartesian_prod(axis, axis)
    log_std = torch.full_like(mean, -0.5)
    result = decompose(
        mean, log_std, mean + log_std.exp() * torch.randn(mean.shape, generator=generator(), dtype=D64)
    )
    assert result.terms[:, 1].abs().max() < 1e-12
    assert result.mutual_information.value == pytest.approx(result.dimensions.sum().item())


def test_correlated_means_against_the_closed_form():
    """Many normal means: q(z) is nearly N(0, Σ), with TC = −½ log det corr(Σ) and I = ½ log det Σ − Σ_k log
    σ_k."""
    N, sigma = 3000, 0.6
    correlation = torch.tensor([[1, 0.8, 0.3], [0.8, 1, 0.0], [0.3, 0.0, 1]], dtype=D64)
    random = generator(3)
    mean = torch.randn(N, 3, generator=random, dtype=D64) @ torch.linalg.cholesky(correlation).T
    log_std = torch.full_like(mean, math.log(sigma))
    result = decompose(mean, log_std, mean + sigma * torch.randn(N, 3, generator=random, dtype=D64))
    covariance = torch.cov(mean.T) + sigma**2 * torch.eye(3)
    log_det = torch.logdet(covariance)
    total_correlation = 0.5 * (covariance.diag().log().sum() - log_det)
    dimension_wise = 0.5 * (covariance.diag() - 1 - covariance.diag().log()).sum()
    for found, expected in [
        (result.total_correlation, total_correlation),
        (result.mutual_information, 0.5 * log_det - 3 * math.log(sigma)),
        (result.dimension_wise_kl, dimension_wise),
    ]:
        assert abs(found.value - expected) < 4 * found.standard_error + 0.02  # 0.02: the mixture is finite


def test_single_precision_is_enough_for_the_inputs():
    mean, log_std, samples = posteriors(500, 10, log_std=-3)
    rounded = [t.float() for t in (mean, log_std, samples)]
    exact, single = decompose(mean, log_std, samples), decompose(*rounded)
    assert torch.equal(single.terms, decompose(*(t.double() for t in rounded)).terms)
    torch.testing.assert_close(single.terms.mean(0), exact.terms.mean(0), rtol=0, atol=1e-4)


@pytest.mark.parametrize("block", [1, 50, 51, 173, 10**6])
def test_blocks_do_not_change_the_decomposition(block):
    args = posteriors(50, 3)
    torch.testing.assert_close(
        decompose(*args, block=block).terms, decompose(*args).terms, rtol=1e-13, atol=1e-13
    )


def test_standard_errors_are_those_of_repeated_draws():
    mean, log_std, _ = posteriors(40, 3)
    random, independent, stratified = generator(5), [], []
    for _ in range(300):
        for results, rows in [
            (independent, torch.randint(40, (80,), generator=random)),
            (stratified, torch.arange(80) % 40),
        ]:
            samples = (
                DiagonalNormal(mean, log_std)
                .rows(rows)
                .sample(torch.randn(80, 3, generator=random, dtype=D64))
            )
            results.append(decompose(mean, log_std, samples, rows)[:4])
    independent, stratified = (
        torch.tensor(independent),
        torch.tensor(stratified),
    )  # draw, term, (value, standard error)
    assert (independent[..., 0].std(0) / independent[..., 1].mean(0)).tolist() == pytest.approx(
        [1] * 4, abs=0.15
    )
    assert (stratified[..., 0].std(0) < 1.1 * stratified[..., 1].mean(0)).all()
    torch.testing.assert_close(stratified[..., 0].mean(0), independent[..., 0].mean(0), rtol=0, atol=0.03)


class LargestStorage(TorchDispatchMode):
    """Bytes of the largest tensor that any operation gives."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        sizes = [t.untyped_storage().nbytes() for t in tree_leaves(found) if isinstance(t, torch.Tensor)]
        self.bytes = max([self.bytes, *sizes])
        return found


@pytest.mark.parametrize("block", [1, 1000, 5000])
@pytest.mark.parametrize("metric", ["decompose", "mutual_information_gap", "pairwise_overlap"])
def test_memory_is_bounded(metric, block):
    """No array is larger than the block, or than the parameters where those are larger."""
    args = {"decompose": 3, "mutual_information_gap": 4, "pairwise_overlap": 2}
    tensors = (*posteriors(200, 3), torch.arange(200)[:, None] % 4)[: args[metric]]
    with LargestStorage() as largest:
        getattr(metrics, metric)(*tensors, block=block)
    assert largest.bytes <= 8 * max(block, 200 * 3)


# --- mutual information gap


def test_gap_against_loops():
    mean, log_std, samples = posteriors(24, 3)
    factors = torch.stack([torch.arange(24) % 3, torch.arange(24) // 7, torch.full((24,), 5)], dim=1)
    log_q = densities(mean, log_std, samples)
    result = mutual_information_gap(mean, log_std, samples, factors)
    for v in range(2):
        information = np.zeros(3)
        for i in range(24):
            same = (factors[:, v] == factors[i, v]).numpy()
            for k in range(3):
                log_qz, log_qzv = (
                    np.log(np.exp(log_q[i, :, k]).mean()),
                    np.log(np.exp(log_q[i, same, k]).mean()),
                )
                information[k] += (log_qzv - log_qz) / 24
        entropy = scipy.stats.entropy(np.bincount(factors[:, v]))
        second, first = np.sort(np.maximum(information, 0))[-2:]
        assert result.information[v].tolist() == pytest.approx(information, abs=1e-12)
        assert result.gaps[v].item() == pytest.approx((first - second) / entropy, abs=1e-12)
    assert result.gaps[2].isnan() and result.information[2].isnan().all()
    assert result.value == pytest.approx(result.gaps[:2].mean().item())


@pytest.mark.parametrize("D", [1, 4])
def test_gap_of_known_latents(D):
    """A dimension equal to each factor gives 1; the same dimensions, shuffled over the images, almost
    nothing."""
    random = generator(2)
    factors = torch.randint(4, (1500, min(D, 2)), generator=random)
    mean = torch.randn(1500, D, generator=random)
    mean[:, : factors.shape[1]] = factors.float()
    log_std = torch.full_like(mean, math.log(0.05))
    samples = mean + 0.05 * torch.randn(1500, D, generator=random)
    result = mutual_information_gap(mean, log_std, samples, factors)
    assert result.value > (
        0.9 if D == 4 else 0.999
    )  # narrow normals, 1,500 of them, tell a little of anything
    assert result.information.argmax(1).tolist() == list(range(factors.shape[1]))
    shuffled = torch.randperm(1500, generator=random)
    result = mutual_information_gap(mean[shuffled], log_std, samples[shuffled], factors)
    assert 0 <= result.value < 0.05


def test_gap_of_two_dimensions_with_one_factor_is_nothing():
    """Twice the same latent: axis-aligned, informative, and not disentangled."""
    factors = torch.arange(300)[:, None] % 3
    mean = factors.expand(-1, 2).double()
    result = mutual_information_gap(mean, torch.full_like(mean, -4), mean + math.exp(-4), factors)
    assert result.information.flatten().tolist() == pytest.approx([math.log(3)] * 2)
    assert result.value == pytest.approx(0, abs=1e-12)


def test_negative_estimates_count_as_nothing():
    """Posteriors that hardly differ, so that the sign of an estimate is up to the samples."""
    results = [
        mutual_information_gap(*posteriors(12, 1, seed, log_std=2), torch.arange(12)[:, None] % 2)
        for seed in range(20)
    ]
    information = torch.cat([result.information[0] for result in results])
    assert (information < 0).any() and (information > 0).any()
    assert [result.value for result in results] == pytest.approx(
        (information.clamp(min=0) / math.log(2)).tolist()
    )


def test_blocks_do_not_change_the_gap():
    args = (*posteriors(60, 3), torch.arange(60)[:, None] % 4)
    torch.testing.assert_close(
        mutual_information_gap(*args, block=7).information, mutual_information_gap(*args).information
    )


def test_the_gap_s_standard_error_is_the_spread_of_new_samples():
    """Other samples of the same posteriors: independent, one of each posterior, so the error is an upper
    bound and near."""
    mean, log_std, _ = posteriors(200, 2, log_std=-1)
    factors = (mean[:, :1] > 0).long()
    found = [
        mutual_information_gap(
            mean, log_std, mean + log_std.exp() * torch.randn(200, 2, generator=generator(s)), factors
        )
        for s in range(60)
    ]
    spread, error = np.std([f.value for f in found], ddof=1), np.mean([f.standard_error for f in found])
    assert 0.9 * spread < error < 6 * spread
    assert found[0].standard_error > 0


def test_gap_without_any_varying_factor():
    found = mutual_information_gap(*posteriors(5, 2), torch.zeros(5, 1, dtype=torch.int64))
    assert math.isnan(found.value) and math.isnan(found.standard_error)


# --- overlap


@pytest.mark.parametrize(
    ("a", "b"), [((0, 1), (0, 1)), ((0, 1), (3, 1)), ((-1, 0.2), (1, 2)), ((0, 1e-2), (0.5, 3))]
)
def test_coefficient_against_integration(a, b):
    def integrand(z):
        return math.sqrt(scipy.stats.norm.pdf(z, *a) * scipy.stats.norm.pdf(z, *b))

    expected, _ = scipy.integrate.quad(integrand, -20, 20, points=[a[0], b[0]], limit=500)
    mean_i, std_i, mean_j, std_j = (torch.tensor([v], dtype=D64) for v in (*a, *b))
    assert log_bhattacharyya(mean_i, std_i.log(), mean_j, std_j.log()).exp().item() == pytest.approx(
        expected, abs=1e-7
    )


def test_coefficients_multiply_over_dimensions():
    (a, b, _), (c, d, _) = posteriors(9, 5), posteriors(9, 5, seed=1)
    each = [log_bhattacharyya(a[:, [k]], b[:, [k]], c[:, [k]], d[:, [k]]) for k in range(5)]
    torch.testing.assert_close(log_bhattacharyya(a, b, c, d), sum(each))


@pytest.mark.parametrize(("N", "limit", "block"), [(2, 1000, 1), (3, 3, 10**6), (12, 8, 1), (12, 1000, 100)])
def test_overlap_against_loops(N, limit, block):
    mean, log_std, _ = posteriors(N, 2)
    n = min(N, limit)
    log_bc = np.array(
        [
            [float(log_bhattacharyya(mean[i], log_std[i], mean[j], log_std[j])) for j in range(n)]
            for i in range(n)
        ]
    )

    def means(keep):
        pairs = [log_bc[i, j] for i in keep for j in keep if i != j]
        return np.array([np.mean(np.exp(pairs)), np.mean(pairs)])

    def jackknife():
        without = np.array([means([j for j in range(n) if j != i]) for i in range(n)])
        return np.sqrt((n - 1) * without.var(0)).tolist()

    result = pairwise_overlap(mean, log_std, limit=limit, block=block)
    assert [result.coefficient.value, result.log_coefficient.value] == pytest.approx(means(range(n)).tolist())
    errors = [result.coefficient.standard_error, result.log_coefficient.standard_error]
    assert errors == pytest.approx(jackknife() if n > 2 else [math.nan] * 2, nan_ok=True)
    np.fill_diagonal(log_bc, -math.inf)
    assert result.nearest.value == pytest.approx(np.exp(log_bc).max(1).mean())


def test_overlap_at_its_ends():
    same = pairwise_overlap(torch.ones(5, 3), torch.zeros(5, 3))
    assert [e.value for e in same] == pytest.approx([1, 0, 1], abs=1e-12)
    far = pairwise_overlap(1e3 * torch.arange(5.0)[:, None], torch.zeros(5, 1))
    assert far.coefficient.value == far.nearest.value == 0
    assert far.log_coefficient.value == pytest.approx(
        -1e6 / 8 * np.mean([(i - j) ** 2 for i in range(5) for j in range(5) if i != j])
    )


def test_jackknife_is_calibrated_over_draws_of_the_images():
    results = torch.tensor([pairwise_overlap(*posteriors(40, 2, seed)[:2])[:2] for seed in range(300)])
    assert (results[..., 0].std(0) / results[..., 1].mean(0)).tolist() == pytest.approx([1, 1], abs=0.15)


# --- activity


def test_active_units_and_their_kl():
    mean, log_std, _ = posteriors(500, 4)
    mean = mean * torch.tensor([1, 0.11, 0.09, 0]) + torch.tensor([0, 0, 5, 0])
    assert metrics.active_units(mean).tolist() == [True, True, False, False]
    assert metrics.active_units(torch.tensor([[0, 0], [0.19, 0.21]])).tolist() == [
        False,
        True,
    ]  # 0.095², 0.105²
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, log_std.exp()), torch.distributions.Normal(0.0, 1.0)
    )
    torch.testing.assert_close(metrics.kl_per_dimension(mean, log_std), kl.mean(0))


@pytest.mark.parametrize(
    ("scale", "offset", "log_std", "state"),
    [
        (1, 0, -2, "ok"),
        (9, 0, -2, "ok"),
        (0.05, 0, 0, "collapsed"),
        (0, 0, 0, "collapsed"),
        (0, 11, 0, "collapsed"),
        (11, 0, -2, "exploded"),
        (1, 11, -2, "exploded"),
        (1, 0, 2.4, "exploded"),
        (0, 0, 100, "exploded"),
        (math.nan, 0, 0, "exploded"),
        (0, math.inf, 0, "exploded"),
        (1, 0, math.nan, "exploded"),
    ],
)
def test_states(scale, offset, log_std, state):
    mean = torch.zeros(1000, 3)
    mean[:, 1] = scale * torch.linspace(-math.sqrt(3), math.sqrt(3), 1000) + offset
    assert latent_state(mean, torch.full_like(mean, log_std)) == state


# --- importance-weighted bound


def test_bound_of_one_sample_is_the_elbo():
    log_weights = 50 * torch.randn(1, 20, generator=generator()) - 1000
    torch.testing.assert_close(importance_weighted(log_weights), log_weights[0], rtol=0, atol=0)


def test_bound_against_loops_where_weights_underflow():
    log_weights = 5 * torch.randn(7, 3, generator=generator(), dtype=D64) - 2000
    expected = [
        -2000 + math.log(sum(math.exp(w + 2000) for w in column) / 7) for column in log_weights.T.tolist()
    ]
    assert importance_weighted(log_weights).tolist() == pytest.approx(expected, abs=1e-9)


def test_bound_tightens_up_to_the_likelihood():
    """p(z) = N(0,1), p(x|z) = N(z,1), so p(x) = N(0,2); an encoder that is off by some."""
    z = 0.3 + 0.9 * torch.randn(512, 4000, generator=generator(), dtype=D64)
    x, normal = 1.5, torch.distributions.Normal
    log_weights = (
        normal(z, 1.0).log_prob(torch.tensor(x)) + normal(0.0, 1.0).log_prob(z) - normal(0.3, 0.9).log_prob(z)
    )
    bounds = [importance_weighted(log_weights[:k]).mean().item() for k in (1, 2, 4, 16, 64, 512)]
    truth = normal(0.0, math.sqrt(2)).log_prob(torch.tensor(x)).item()
    assert bounds == sorted(bounds)
    assert bounds[0] < truth - 0.2
    assert bounds[-1] == pytest.approx(truth, abs=0.01)


def test_everything_public_says_what_it_is():
    assert all(inspect.getdoc(getattr(metrics, name)) for name in metrics.__all__)


def test_the_count_of_active_units_is_as_uncertain_as_other_images_make_it():
    """A dimension of variance 0.01 is active in half of all draws of images, one of variance 0 in none, one
    of 1 in all."""
    scale = torch.tensor([0.1, 0.0, 1.0]).double()
    draws = [torch.randn(400, 3, generator=generator(s)).double() * scale for s in range(100)]
    counts = [metrics.count_active(mean) for mean in draws]
    assert {count.value for count in counts} == {1, 2}
    spread = np.std([count.value for count in counts], ddof=1)
    assert np.mean([count.standard_error for count in counts]) == pytest.approx(spread, rel=0.35)
    assert metrics.count_active(torch.tensor([1.0, -1.0, 0.0]).repeat(100)[:, None]).standard_error == 0


def all_pairs(q):
    """KL(q_i ‖ q_j) of all pairs i ≠ j by torch's own distributions, (N, N − 1)."""
    normal = torch.distributions.Normal(q.mean.double(), q.log_std.double().exp())
    rows = []
    for i in range(len(q.mean)):
        one = torch.distributions.Normal(normal.loc[i], normal.scale[i])
        divergence = torch.distributions.kl_divergence(one, normal).sum(1)
        rows.append(torch.cat([divergence[:i], divergence[i + 1 :]]))
    return torch.stack(rows)


def test_pair_divergence_is_that_of_all_pairs():
    q = DiagonalNormal(*posteriors(40, 5, seed=3)[:2])
    pairs = all_pairs(q)
    found = precision.mean_pair_divergence(q)
    assert found.value == pytest.approx(float(pairs.mean()), rel=1e-10)
    assert precision.mean_pair_divergence(DiagonalNormal(q.mean + 1e4, q.log_std)).value == pytest.approx(
        found.value, rel=1e-5
    )
    median, high = precision.pair_divergence_quantiles(q, (0.5, 0.99), seed=0)
    expected = pairs.flatten().quantile(torch.tensor([0.5, 0.99], dtype=torch.float64))
    assert abs(median.value - expected[0]) < 4 * median.standard_error
    assert abs(high.value - expected[1]) < 4 * high.standard_error


def test_pair_divergence_is_squared_precision_if_each_width_is_one_number():
    N = 50
    mean = posteriors(N, 4, seed=1)[0]
    mean[:, 0] = mean[:, 0].pow(3)  # heavy tails change nothing
    q = DiagonalNormal(mean, torch.tensor([-3.0, -1.0, 0.5, -2.0], dtype=D64).expand(N, 4))
    independent = precision.mean_pair_divergence(q).value * (N - 1) / N  # pairs i = j included
    assert precision.squared_precision(q).value == pytest.approx(independent, rel=1e-6)
    stretched = DiagonalNormal(100 * mean, q.log_std + math.log(100))
    assert precision.squared_precision(stretched).value == pytest.approx(independent, rel=1e-6)


@pytest.mark.parametrize("s", [0.0, 0.3, 0.5])
def test_share_of_the_squared_precision_where_widths_are_log_normal(s):
    N = 40_000
    normal = torch.randn(N, 2, generator=generator(2), dtype=D64)
    q = DiagonalNormal(100 * normal[:, :1], s * normal[:, 1:])
    share = precision.squared_precision(q).value / precision.mean_pair_divergence(q).value
    assert share == pytest.approx(math.exp(-2 * s**2), rel=0.03)


@pytest.mark.parametrize("slope", [-1.0, 0.0, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("power", [1, 3])
def test_squared_precision_is_at_most_twice_the_pair_divergence(slope, power):
    mean, log_std, _ = posteriors(300, 3, seed=5, spread=0.3)
    mean = mean.pow(power)  # light or heavy tails, whose posteriors are wide (slope > 0) or narrow
    q = DiagonalNormal(mean, log_std + slope * mean.abs().log1p())
    independent = precision.mean_pair_divergence(q).value * 299 / 300  # pairs i = j included
    assert 0 < precision.squared_precision(q).value <= 2 * independent


def test_wide_posteriors_far_from_the_mean_lift_the_squared_precision_above_the_pair_divergence():
    far = torch.arange(1000) % 100 == 0
    mean = (
        torch.where(far, 300.0, 0.0).double()[:, None]
        * torch.tensor([1.0, -1.0])[torch.arange(1000) // 100 % 2, None]
    )
    q = DiagonalNormal(mean, torch.where(far, math.log(10.0), 0.0).double()[:, None])
    # V = 900 + E σ², E ln σ = ln(10)/100, E σ⁻² = 0.9901; by hand, independent pairs
    variance, inverse = 900 + 0.99 + 1.0, 0.99 + 0.0001
    expected = 0.5 * (variance * inverse + 900 / 100 - 1)
    assert precision.mean_pair_divergence(q).value * 999 / 1000 == pytest.approx(expected, rel=1e-6)
    found = precision.squared_precision(q).value
    assert found == pytest.approx(variance * 10 ** (-2 / 100) - 1, rel=1e-6) and found > 1.8 * expected


def test_dimensions_of_known_posteriors():
    mean = torch.tensor([[-1.0, 3.0], [1.0, 3.0], [-1.0, 3.0], [1.0, 3.0]])
    found = precision.dimensions(DiagonalNormal(mean, torch.full((4, 2), math.log(0.5))))
    torch.testing.assert_close(found.variance, torch.tensor([1.25, 0.25], dtype=D64))
    expected = torch.tensor([0.5 * math.log(5), 0.0], dtype=D64)
    torch.testing.assert_close(found.precision, expected, atol=1e-6, rtol=0)
    assert float(found.kurtosis[0]) == pytest.approx(1) and found.kurtosis[1].isnan()


@pytest.mark.parametrize("name", ["mean_pair_divergence", "squared_precision"])
def test_standard_errors_of_precision_are_the_spread_over_data_sets(name):
    found = [
        getattr(precision, name)(DiagonalNormal(*posteriors(300, 3, seed=seed)[:2])) for seed in range(60)
    ]
    spread = np.std([one.value for one in found], ddof=1)
    assert np.mean([one.standard_error for one in found]) == pytest.approx(spread, rel=0.35)
