"""Attacks against closed forms and SciPy; rows that do not know of each other."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from conftest import make_images
from outside_models import make_encoder
from scipy.optimize import fmin_l_bfgs_b, minimize_scalar
from torch import nn
from torch.utils.checkpoint import checkpoint

from vaepipe.attacks.loss import Setting, find_loss
from vaepipe.attacks.objective import Objective
from vaepipe.attacks.pairs import choose_pairs, draw_pairs, select_pairs
from vaepipe.attacks.penalised import run_attack
from vaepipe.attacks.penalised_rows import PenalisedProblem
from vaepipe.attacks.result import AttackResult
from vaepipe.datasets.part import Part
from vaepipe.models.distributions import DiagonalNormal, Gaussian
from vaepipe.storage.errors import DataError

LAMBDAS = torch.tensor([2.0**k for k in range(-12, 13, 3)])


def divergence_of(model, target):
    setting = Setting(model, target, target, model.posterior(target), None, len(target))
    return find_loss("latent-kl").build(setting)


class Linear:
    """q(z|x) = N(W x, s² I): the KL is |W (x + d − x_t)|² / 2s²."""

    def __init__(self, weight, std=0.5):
        self.weight, self.std, self.latent_sizes = weight, std, (len(weight),)

    def posterior(self, x):
        mean = x.flatten(1) @ self.weight.T
        return (DiagonalNormal(mean, torch.full_like(mean, math.log(self.std))),)

    def infer(self, x, noise):
        (q,) = self.posterior(x)
        return (q,), (q.sample(noise),)

    def decode(self, z):
        return Gaussian((z @ self.weight).view(-1, 1, 2, 2), 0.1)


def test_one_latent_dimension_has_a_closed_form():
    # along w the problem is min_t (c − |w|t)²/2s² + λt in the step t, so t = (c − λ s²/|w|)₊ / |w|
    w = torch.tensor([[0.3, -0.2, 0.5, 0.1]])
    x, target = torch.full((1, 1, 2, 2), 0.5), torch.tensor([[0.6, 0.45, 0.7, 0.5]]).view(1, 1, 2, 2)
    lambdas = torch.tensor([0.01, 0.05, 0.1, 0.2, 1.0])
    result = run_attack(Linear(w), x, target, lambdas)
    c, length, variance = float((w @ (target - x).flatten()).item()), float(w.norm()), 0.25
    for row, lambda_ in enumerate(lambdas.tolist()):
        t = max(0.0, c - lambda_ * variance / length) / length
        expected = (t * w / length).flatten()
        torch.testing.assert_close(result.distortion[row].flatten(), expected, atol=2e-4, rtol=0)
        value = (c - length * t) ** 2 / (2 * variance) + lambda_ * t
        assert result.objective[row].item() == pytest.approx(value, rel=1e-3, abs=1e-6)
    assert result.norm[-1].item() == 0 and result.converged.all()


def test_zero_is_certified_exactly_from_the_projected_gradient_on():
    model, x, target = make_encoder(), make_images(3), make_images(3, seed=2)
    u = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(divergence_of(model, target)(u, torch.arange(3)).sum(), u)
    blocked = ((x <= 0) & (grad > 0)) | ((x >= 1) & (grad < 0))
    assert blocked.any()
    threshold = torch.where(blocked, 0, grad).flatten(1).norm(dim=1)
    for p in range(3):
        one, lambdas = slice(p, p + 1), threshold[p] * torch.tensor([1.001, 0.98])
        above, below = run_attack(model, x[one], target[one], lambdas, envelope=False).norm[:, 0]
        assert above == 0 < below


class Hill:
    """q(z|x) of one pixel u: its mean, u + 0.3 sin 4πu, has a hill at u = 0.15. Steps are short."""

    latent_sizes = (1,)

    def posterior(self, x):
        u = x.flatten(1)
        return (DiagonalNormal(u + 0.3 * (4 * math.pi * u).sin(), torch.full_like(u, math.log(10))),)


@pytest.mark.parametrize("lambda_", [1e-6, 1e-5])
def test_a_hill_between_image_and_target_does_not_stop_the_envelope(lambda_):
    x, target = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    result = run_attack(Hill(), x, target, torch.tensor([lambda_]))
    u = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    value = (u + 0.3 * (4 * math.pi * u).sin() - 1).square() / 200 + lambda_ * u
    assert result.own_objective.item() == pytest.approx(value[u < 0.4].min().item(), rel=1e-3)
    assert result.objective.item() == pytest.approx(value.min().item(), rel=1e-3)
    assert result.objective.item() < result.own_objective.item()


def scipy_reference(model, x, target, lambda_):
    """The papers' solver on one row in float64: L-BFGS-B, m = 25, factr = 10, start U(−1e−8, 1e−8)."""
    model, x = model.double(), x.double()
    divergence = divergence_of(model, target.double())
    flat = x.flatten().numpy()

    def value_and_grad(d):
        u = torch.from_numpy(flat + d).view_as(x).requires_grad_()
        value = divergence(u, torch.tensor([0]))[0]
        (grad,) = torch.autograd.grad(value, u)
        norm = np.linalg.norm(d)
        return value.item() + lambda_ * norm, grad.flatten().numpy() + lambda_ * d / max(norm, 1e-300)

    start = np.random.default_rng(0).uniform(-1e-8, 1e-8, flat.size).clip(-flat, 1 - flat)
    return fmin_l_bfgs_b(value_and_grad, start, bounds=list(zip(-flat, 1 - flat)), m=25, factr=10)[1]


@pytest.mark.slow
def test_reaches_what_scipy_reaches():
    x, target, lambdas = make_images(2), make_images(2, seed=2), LAMBDAS[2::2]
    result = run_attack(make_encoder(), x, target, lambdas)

    def one(p, lambda_):
        return scipy_reference(make_encoder(), x[p : p + 1], target[p : p + 1], lambda_)

    reference = np.array([[one(p, lambda_) for p in range(2)] for lambda_ in lambdas.tolist()])
    objective, initial = result.objective.numpy(), result.initial_divergence.numpy()
    as_good = objective <= 1.01 * reference + 1e-4 * initial
    assert as_good.mean() >= 0.9  # local minima differ for some rows
    assert objective.mean() <= 1.02 * reference.mean()
    assert (objective <= 1.3 * reference + 1e-3 * initial).all()


@pytest.mark.slow
def test_the_row_s_fields_belong_together():
    model, x, target = make_encoder(), make_images(3), make_images(3, seed=2)
    r = run_attack(model, x, target, LAMBDAS, max_iterations=100)
    L, P = len(LAMBDAS), 3
    assert r.distortion.shape == (L, P, 1, 8, 8)
    assert all(getattr(r, name).shape == (L, P) for name in vars(r) if name != "distortion")
    torch.testing.assert_close(r.objective, r.divergence + LAMBDAS[:, None] * r.norm)
    torch.testing.assert_close(r.norm, r.distortion.flatten(2).norm(dim=2))
    adversarial = x + r.distortion
    assert adversarial.min() >= 0 and adversarial.max() <= 1
    divergence = divergence_of(model, target)
    for row in range(L):
        found = divergence(adversarial[row], torch.arange(P))
        torch.testing.assert_close(r.divergence[row], found, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        r.initial_divergence, divergence(x, torch.arange(P)).expand(L, P), rtol=1e-4, atol=1e-4
    )
    assert (r.objective <= r.initial_divergence + 1e-6).all()


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 13, 9)])
def test_a_row_is_the_same_bit_for_bit_alone_in_any_company_and_in_any_block(shape):
    model, x, target = make_encoder(shape), make_images(6, shape), make_images(6, shape, seed=2)
    options = {"batch_size": 16, "max_iterations": 100, "envelope": False}
    whole = run_attack(model, x, target, LAMBDAS, **options)
    for row, p in [(0, 0), (3, 5), (8, 2)]:
        alone = run_attack(model, x[p : p + 1], target[p : p + 1], LAMBDAS[row : row + 1], **options)
        for name in vars(whole):
            assert torch.equal(getattr(whole, name)[row, p], getattr(alone, name)[0, 0]), name
    block = run_attack(model, x, target, LAMBDAS[2:5], **options)
    assert torch.equal(whole.distortion[2:5], block.distortion)
    turned = run_attack(model, x.flip(0), target.flip(0), LAMBDAS.flip(0), **options)
    assert torch.equal(whole.distortion, turned.distortion.flip(0, 1))


def test_the_one_dimensional_optimum_by_golden_section():
    model, x, target = (
        make_encoder((1, 1, 1), d_z=1, gain=3.0),
        torch.tensor([[[[0.5]]]]),
        torch.tensor([[[[0.9]]]]),
    )
    divergence = divergence_of(model, target)
    for lambda_ in (0.01, 0.3, 2.0):

        def f(u, lambda_=lambda_):
            return float(
                divergence(torch.tensor([[[[u]]]], dtype=torch.float32), torch.tensor([0]))
            ) + lambda_ * abs(u - 0.5)

        best = minimize_scalar(f, bounds=(0, 1), method="bounded", options={"xatol": 1e-6}).fun
        assert (
            run_attack(model, x, target, torch.tensor([lambda_])).objective.item() <= min(best, f(0.5)) + 1e-4
        )


class Wrong:
    """A model whose posterior is not one."""

    def __init__(self, posterior):
        self.posterior = posterior


def broken():
    model = make_encoder()
    model.encoder[1][0].weight[0, 0] = math.nan
    return model


BAD = [
    ({"lambdas": torch.tensor([1.0, -1.0])}, "positive"),
    ({"lambdas": torch.tensor([math.nan])}, "positive"),
    ({"x": torch.full((1, 1, 8, 8), 1.5)}, "x: holds values outside"),
    ({"target": torch.full((1, 1, 8, 8), math.nan)}, "target: holds values outside"),
    ({"target": torch.zeros(2, 1, 8, 8)}, "shapes"),
    ({"loss": "kl"}, "'kl' is not one of latent-kl"),
    ({"model": make_encoder().train()}, "training mode"),
    (
        {"model": Wrong(lambda x: x)},
        "gave Tensor; expected a sequence of vaepipe.models.distributions.DiagonalNormal",
    ),
    ({"model": Wrong(lambda x: [(x, x)])}, "sequence of tuple"),
    ({"model": Wrong(lambda x: [])}, "gave list"),
    ({"model": Wrong(lambda x: [DiagonalNormal(x, x)])}, r"mean and log_std of shapes \(64, 1, 8, 8\)"),
    ({"model": Wrong(lambda x: [DiagonalNormal(x[0, 0], x[0, 0])])}, r"expected \(64, D\)"),
    ({"model": Wrong(lambda x: [DiagonalNormal(x.flatten(1) / 0, x.flatten(1))])}, "not finite"),
    ({"model": Wrong(lambda x: [DiagonalNormal(x.flatten(1), x.flatten(1) / 0)])}, "not finite"),
    (
        {"model": Wrong(lambda x: [DiagonalNormal(x.flatten(1), x.flatten(1).log() - math.inf)])},
        "infinite for a posterior without",
    ),
    ({"model": object()}, "object has no posterior"),
    ({"model": Wrong(None), "loss": "output"}, "Wrong has no decode"),
    ({"model": broken()}, "encoder.1.0.weight holds values that are not finite"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[m for _, m in BAD])
def test_bad_input_is_refused_at_once(change, message):
    good = {"model": make_encoder(), "x": make_images(1), "target": make_images(1)}
    arguments = good | {"lambdas": torch.tensor([1.0])} | change
    with pytest.raises(ValueError, match=message):
        run_attack(**arguments)


def test_pairs_have_targets_of_another_kind_and_longer_lists_begin_with_shorter_ones():
    random = np.random.default_rng(0)
    images = np.arange(50, dtype=np.uint8).repeat(4).reshape(50, 1, 2, 2)
    labelled = Part(images, label=random.integers(0, 3, 50))
    pairs = draw_pairs(labelled, 20, seed=1)
    assert pairs.shape == (20, 2) and len(set(pairs[:, 0])) == 20
    assert (labelled.label[pairs[:, 0]] != labelled.label[pairs[:, 1]]).all()
    assert np.array_equal(draw_pairs(labelled, 30, seed=1)[:20], pairs)
    assert not np.array_equal(draw_pairs(labelled, 20, seed=2), pairs)
    factored = Part(images, factors=random.integers(0, 4, (50, 5)), factor_names=tuple("abcde"))
    pairs = draw_pairs(factored, 20, seed=1)
    assert ((factored.factors[pairs[:, 0]] != factored.factors[pairs[:, 1]]).sum(1) >= 3).all()
    plain = draw_pairs(Part(images), 50, seed=1)
    assert (plain[:, 0] != plain[:, 1]).all()
    with pytest.raises(DataError, match="51 is more than the 50"):
        draw_pairs(labelled, 51, seed=1)
    one_class = Part(images, label=np.zeros(50, int))  # says nothing, so any other image is a target
    assert np.array_equal(draw_pairs(one_class, 50, seed=1), plain)


def test_listed_pairs_are_those_and_no_others():
    part = Part(np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8), np.uint8))
    assert choose_pairs(part, [[5, 0], [5, 1]], seed=3).tolist() == [[5, 0], [5, 1]]
    assert np.array_equal(choose_pairs(part, 4, seed=3), draw_pairs(part, 4, seed=3))
    images = Part(np.arange(6 * 64, dtype=np.uint8).reshape(6, 1, 8, 8), label=np.arange(6) % 2)
    chosen = select_pairs(images, [[5, 0], [4, 1]], seed=3)
    assert np.array_equal(chosen.x, images.x[[5, 4]]) and np.array_equal(chosen.target, images.x[[0, 1]])
    assert chosen.pair_labels.tolist() == [[1, 0], [0, 1]]
    assert "pair_labels" not in select_pairs(part, 2, seed=3).arrays()
    for bad in ([6, 0], [2, 2]):
        with pytest.raises(DataError, match=r"attack.pairs: \[\d, \d\] is not two of the 6 held-out images"):
            choose_pairs(part, [[0, 1], bad], seed=0)


def test_the_envelope_is_concave_and_rises_and_no_row_is_above_another_s_line():
    model, x, target = make_encoder(), make_images(2), make_images(2, seed=2)
    lambdas = torch.tensor([2.0**k for k in range(-16, 9)])
    r = run_attack(model, x, target, lambdas, max_iterations=40)
    f, lambda_ = r.objective.double(), lambdas.double()
    assert (r.objective <= r.own_objective).all() and (r.objective < 0.999 * r.own_objective).any()
    lines = r.divergence + lambdas[:, None, None] * r.norm  # λ, found at, pair
    assert (f[:, None] <= lines * (1 + 1e-6) + 1e-7).all() and (f <= r.initial_divergence * (1 + 1e-6)).all()
    slope = f.diff(dim=0) / lambda_.diff()[:, None]
    assert (slope >= -1e-5).all() and (slope.diff(dim=0) <= 1e-3 * slope[:-1] + 1e-6).all()
    torch.testing.assert_close(r.norm, r.distortion.flatten(2).norm(dim=2))


def test_rows_solved_in_blocks_come_together_as_if_they_had_been_one_and_any_order_of_lambda_does():
    model, x, target = make_encoder(), make_images(3), make_images(3, seed=2)
    options = {"max_iterations": 40, "batch_size": 16, "effort": "fast"}
    whole = run_attack(model, x, target, LAMBDAS, **options)
    blocks = [run_attack(model, x, target, some, envelope=False, **options) for some in LAMBDAS.split(4)]
    own = AttackResult(
        **{name: torch.cat([getattr(block, name) for block in blocks]) for name in vars(whole)}
    )
    together = run_attack(model, x, target, LAMBDAS, own=own, **options)
    turned = run_attack(model, x.flip(0), target.flip(0), LAMBDAS.flip(0), **options)
    for name in vars(whole):
        assert torch.equal(getattr(whole, name), getattr(together, name)), name
        assert torch.equal(getattr(whole, name), getattr(turned, name).flip(0, 1)), name


def test_few_rows_are_evaluated_in_small_batches_only_where_these_round_as_whole_ones():
    model, x, target, seen = make_encoder(), make_images(2), make_images(2, seed=2), []

    class Fickle:
        def posterior(self, images):
            seen.append(len(images))
            (q,) = model.posterior(images)
            return (DiagonalNormal(q.mean + 1e-6 * (len(images) < 16), q.log_std),)

    objective = Objective(Fickle(), x, target, find_loss("latent-kl"), seed=0, draws=1, batch_size=64)
    problem = PenalisedProblem(objective, solver="lbfgs", max_iterations=50, tolerance=1e-4)
    assert problem.batch_sizes == [16, 32]
    problem.batch_sizes = []
    whole = problem.solve(LAMBDAS[:3])
    problem.batch_sizes = [16, 32]
    seen.clear()
    assert torch.equal(problem.solve(LAMBDAS[:3]).d, whole.d) and min(seen) == 16


def test_a_network_that_computes_layers_once_more_to_save_memory_is_attacked_alike():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.Flatten(), nn.Linear(64, 4))

    class Saving:
        def __init__(self, run):
            self.run = run

        def posterior(self, images):
            mean, log_std = self.run(images).chunk(2, 1)
            return (DiagonalNormal(mean, log_std),)

    again = partial(checkpoint, network, use_reentrant=False)
    x, target = make_images(2), make_images(2, seed=2)
    kept, saving = (
        run_attack(Saving(run), x, target, LAMBDAS[:3], effort="fast", max_iterations=100)
        for run in (network, again)
    )
    torch.testing.assert_close(saving.objective, kept.objective, rtol=1e-2, atol=1e-6)


@pytest.mark.slow
def test_out_of_memory_halves_the_batch_and_goes_on(capsys):
    model, seen = make_encoder(), []

    class Small:
        def posterior(self, x):
            seen.append(len(x))
            if len(x) > 9 and x.requires_grad:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return model.posterior(x)

    x, target = make_images(2), make_images(2, seed=2)
    options = {"effort": "fast", "max_iterations": 40}
    found = run_attack(Small(), x, target, LAMBDAS[:3], batch_size=32, **options)
    assert max(seen) == 32 and seen[-1] <= 8 and "going on with 8 rows at once" in capsys.readouterr().out
    whole = run_attack(model, x, target, LAMBDAS[:3], batch_size=8, **options)
    assert torch.equal(found.distortion, whole.distortion)

    class None_:
        def posterior(self, x):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        run_attack(None_(), x, target, LAMBDAS[:1], batch_size=4)


def test_a_pair_without_finite_objective_is_stored_as_not_converged_and_the_others_go_on():
    model = make_encoder()
    x, target = make_images(3), make_images(3, seed=2)
    pixel = int(((x[1] > 0) & (x[1] < 1)).flatten().nonzero()[0])
    grey = x[1].flatten()[pixel]  # of no other image, as the black and white are

    class Holed:
        def posterior(self, images):
            (q,) = model.posterior(images)
            bad = images.requires_grad & (images.flatten(1)[:, pixel] == grey)
            return (DiagonalNormal(torch.where(bad[:, None], torch.nan, q.mean), q.log_std),)

    r, sound = (run_attack(m, x, target, LAMBDAS[4:6], max_iterations=100) for m in (Holed(), model))
    assert not r.converged[:, 1].any() and (r.distortion[:, 1] == 0).all() and r.objective[:, 1].isnan().all()
    assert torch.equal(r.objective[:, [0, 2]], sound.objective[:, [0, 2]])


@pytest.mark.slow
def test_float64_reaches_what_float32_does_and_the_papers_solver_is_there():
    model, x, target = make_encoder(), make_images(2), make_images(2, seed=2)
    lambdas = torch.tensor([1e-3, 0.3])
    single, double = (
        run_attack(model, x, target, lambdas, precision=p, effort="thorough") for p in ("float32", "float64")
    )
    assert double.objective.dtype == torch.float64 and next(model.parameters()).dtype == torch.float32
    # the searches may end in different minima: each reports the float64 objective of what it found
    divergence = divergence_of(make_encoder().double(), target.double())
    for result, rtol in ((single, 1e-4), (double, 1e-9)):
        d = result.distortion.double()
        values = torch.stack([divergence(x.double() + d[row], torch.arange(2)) for row in range(2)])
        values = values + lambdas.double()[:, None] * d.flatten(2).norm(dim=2)
        torch.testing.assert_close(result.objective.double(), values, rtol=rtol, atol=1e-6)
    paper = run_attack(model, x, target, lambdas, solver="scipy", precision="float64", envelope=False)
    expected = [
        [scipy_reference(make_encoder(), x[p : p + 1], target[p : p + 1], lambda_) for p in range(2)]
        for lambda_ in [1e-3, 0.3]
    ]
    np.testing.assert_allclose(paper.objective.numpy(), expected, rtol=1e-2, atol=1e-4)
    torch.testing.assert_close(paper.objective, paper.divergence + lambdas.double()[:, None] * paper.norm)
    assert (double.objective <= 1.01 * paper.objective + 1e-4 * paper.initial_divergence).all()
