"""Effort: what rounds of a deeper search add to the envelope, and what they leave as it is."""

from dataclasses import replace

import pytest
import torch
from conftest import make_images
from outside_models import Scaled, make_encoder

from vaepipe.attacks import rounds
from vaepipe.attacks.errors import Refused
from vaepipe.attacks.loss import find_loss
from vaepipe.attacks.penalised import run_attack
from vaepipe.attacks.penalised_rows import PenalisedProblem
from vaepipe.attacks.result import AttackResult
from vaepipe.attacks.rounds import EFFORTS
from vaepipe.attacks.solvers import lbfgs, momentum
from vaepipe.models.distributions import DiagonalNormal

pytestmark = pytest.mark.slow
LAMBDAS = torch.tensor([2.0**k for k in range(-12, 9, 4)])
SHORT = {"max_iterations": 20, "batch_size": 16}


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    """What rounds do shows in four of them."""
    monkeypatch.setitem(EFFORTS, "thorough", 4)


def fast_and_thorough(model, x, target, lambdas, **options):
    return (run_attack(model, x, target, lambdas, effort=e, **options) for e in ("fast", "thorough"))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("gain", [2.0, 6.0])
def test_no_row_is_above_the_fast_and_its_fields_belong_together(seed, gain):
    model, shape = make_encoder(gain=gain, seed=seed), (1, 8, 8)
    x, target = make_images(3, shape, seed), make_images(3, shape, seed + 10)
    fast, thorough = fast_and_thorough(model, x, target, LAMBDAS, **SHORT)
    assert (thorough.objective <= fast.objective).all()
    assert (thorough.objective < 0.999 * fast.objective).any()
    assert torch.equal(thorough.own_objective, fast.own_objective)
    assert torch.equal(thorough.initial_divergence, fast.initial_divergence)
    penalty = LAMBDAS[:, None] * thorough.norm
    torch.testing.assert_close(thorough.objective, thorough.divergence + penalty)
    torch.testing.assert_close(thorough.norm, thorough.distortion.flatten(2).norm(dim=2))
    adversarial = x + thorough.distortion
    assert adversarial.min() >= 0 and adversarial.max() <= 1
    lines = thorough.divergence + LAMBDAS[:, None, None] * thorough.norm  # λ, distortion found at, pair
    assert (thorough.objective[:, None] <= lines * (1 + 1e-6)).all()


def bent_valley(u, _, weight=30.0):
    """A valley with a sharp floor, v₂ = 2|v₁| − 1, that falls to v₁ = 1, and its gradient; v = 2u − 1."""
    with torch.enable_grad():
        v = (2 * u - 1).requires_grad_()
        value = weight * (v[:, 1] - 2 * v[:, 0].abs() + 1).abs() + (v[:, 0] - 1) ** 2
        (grad,) = torch.autograd.grad(value.sum(), v)
    return value.detach(), 2 * grad


def test_momentum_follows_a_kinked_valley_in_which_lbfgs_stalls():
    x, lambda_ = torch.tensor([[0.55, 0.90]]).expand(3, 2), torch.tensor([0.05, 0.1, 0.2])
    start, initial = torch.tensor([[0.56, 0.20]]).expand(3, 2), bent_valley(x, None)[0]
    stalled = lbfgs.minimise(bent_valley, x, lambda_, slots=4, start=start, initial=initial, tolerance=1e-9)
    walked = momentum.descend(bent_valley, x, lambda_, stalled.u, slots=4, steps=600)
    assert stalled.converged.all()
    assert (walked.objective < 0.99 * stalled.objective).all()
    torch.testing.assert_close(walked.objective, walked.divergence + lambda_ * walked.norm)
    torch.testing.assert_close(walked.divergence, bent_valley(walked.u, None)[0])
    torch.testing.assert_close(walked.norm, (walked.u - x).norm(dim=1))
    assert (walked.iterations == 600).all() and not walked.converged.any()


class Kinked:
    """q(z|x) of two pixels whose KL from N(μ, I) is `bent_valley`, halved: a floor with a kink all along."""

    latent_sizes = (2,)

    def posterior(self, x):
        v = 2 * x.flatten(1) - 1
        floor = (v[:, 1] - 2 * v[:, 0].abs() + 1).abs()
        mean = torch.stack([(60 * (floor + 1e-9)).sqrt(), v[:, 0]], 1)
        return (DiagonalNormal(mean, torch.zeros_like(mean)),)


def test_a_kinked_divergence_is_lowered_further_than_by_the_envelope():
    x, target = torch.tensor([[0.05, 0.9]]).view(1, 1, 1, 2), torch.tensor([[0.95, 0.9]]).view(1, 1, 1, 2)
    lambdas = torch.tensor([0.5, 1.0])
    fast, thorough = fast_and_thorough(Kinked(), x, target, lambdas, max_iterations=250, batch_size=8)
    assert (thorough.objective < 0.99 * fast.objective).all()


def test_a_closed_form_stays_exact_and_its_rows_converge():
    # φ(d) = 2‖d − w‖²: the norm shortens w by λ / 4, and to nothing from λ = 4 ‖w‖ on
    x, target = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0.6, 0.45, 0.7, 0.5]).view(1, 1, 2, 2)
    w, lambdas = (target - x).flatten(), torch.tensor([0.01, 0.1, 0.5, 0.9, 1.0])
    result = run_attack(Scaled(), x, target, lambdas, effort="thorough")
    length = (w.norm() - lambdas / 4).clamp(min=0)
    expected = length[:, None] * w / w.norm()
    torch.testing.assert_close(result.distortion.flatten(1), expected, atol=2e-4, rtol=0)
    value = 2 * (length - w.norm()).square() + lambdas * length
    torch.testing.assert_close(result.objective[:, 0], value, rtol=1e-4, atol=1e-6)
    assert result.norm[-1].item() == 0 and result.converged.all()


def most_evaluations(count, max_iterations):
    """Of a row in all rounds: steps from near x, and a walk with polish and a solve, or one in the valley.

    The steps after the rounds take no more than a round.
    """
    share = max(rounds.WALK + rounds.POLISH + rounds.SOLVE, rounds.VALLEY)
    near = share * rounds.EXPLORE / rounds.FEWEST
    return (count + 1) * max((share + near) * max_iterations, momentum.OTHERS)


@pytest.mark.parametrize("count", [3, 6])
def test_only_a_row_that_is_searched_changes_and_within_its_budget(count, monkeypatch):
    monkeypatch.setitem(EFFORTS, "default", count)
    model, x, target = make_encoder(gain=6.0), make_images(3), make_images(3, seed=2)
    fast = run_attack(model, x, target, LAMBDAS, effort="fast", **SHORT)
    deep = run_attack(model, x, target, LAMBDAS, **SHORT)
    spent = deep.iterations - fast.iterations
    assert (spent >= 0).all() and (spent <= most_evaluations(count, SHORT["max_iterations"])).all()
    fell = fast.objective - deep.objective > rounds.STILL * fast.objective
    assert fell.any() and not deep.converged.all()
    untouched = (spent == 0) & (deep.objective == fast.objective)
    assert torch.equal(deep.converged[untouched], fast.converged[untouched])


class Both(Kinked):
    """The divergence of a pair whose second pixel is dark is quadratic, that of another has a kink."""

    def posterior(self, x):
        (kinked,) = super().posterior(x)
        smooth = x.flatten(1)[:, 1:] < 0.8
        mean = torch.where(smooth, 2 * x.flatten(1), kinked.mean)
        return (DiagonalNormal(mean, torch.zeros_like(mean)),)


def test_a_pair_that_a_round_does_not_lower_is_left_alone_and_the_others_are_not(monkeypatch):
    x = torch.tensor([[0.6, 0.5], [0.05, 0.9]]).view(2, 1, 1, 2)
    target = torch.tensor([[0.9, 0.7], [0.95, 0.9]]).view(2, 1, 1, 2)
    lambdas, options = torch.linspace(0.3, 1.2, 4), {"max_iterations": 400, "batch_size": 8}
    options["loss"] = replace(find_loss("latent-kl"), residuals=None)  # with them one round is enough
    spent = []
    for count in (0, 1, 2):
        monkeypatch.setitem(EFFORTS, "default", count)
        spent.append(run_attack(Both(), x, target, lambdas, **options).iterations)
    first, second = spent[1] - spent[0], spent[2] - spent[1]
    assert (first > 0).all() and (second[:, 0] == 0).all() and (second[:, 1] > 0).all()


def test_a_round_goes_from_the_largest_weight_to_the_smallest_and_the_next_is_less_bold(monkeypatch):
    model, x, target = make_encoder(gain=2.0), make_images(3), make_images(3, seed=2)
    lambdas = torch.tensor([2.0**k for k in range(-2, 4)])  # none in the valley
    walk, walked = PenalisedProblem.walk, []

    def noted(problem, pair, lambda_, start, steps, boldness):
        walked.append((boldness, lambda_.max().item(), lambda_.min().item()))
        return walk(problem, pair, lambda_, start, steps, boldness)

    monkeypatch.setattr(PenalisedProblem, "walk", noted)
    monkeypatch.setitem(EFFORTS, "default", 2)
    run_attack(model, x, target, lambdas, **SHORT)
    assert walked == [(4.0, 8.0, 1.0), (4.0, 0.5, 0.25), (1.0, 8.0, 1.0), (1.0, 0.5, 0.25)]


class BehindAHill(Kinked):
    """At x = 0.6 the first pixel has two ways to the posterior of the target: up to 0.9, or the shorter one
    down to 0.4, over a hill at 0.56."""

    def posterior(self, x):
        v, w = x.flatten(1).split(1, 1)
        mean = torch.cat([100 * (v - 0.4) * (0.9 - v) / v**2, w], 1)
        return (DiagonalNormal(mean, torch.zeros_like(mean)),)


def test_a_shorter_way_behind_a_hill_is_found_from_points_near_x(monkeypatch):
    x, target = torch.tensor([[0.6, 0.5]]).view(1, 1, 1, 2), torch.tensor([[0.9, 0.5]]).view(1, 1, 1, 2)
    lambdas = torch.logspace(-1, 1, 8)
    v = torch.linspace(1e-3, 1, 100_000, dtype=torch.float64)
    mean = 100 * (v - 0.4) * (0.9 - v) / v**2
    least = (0.5 * mean.square() + lambdas.double()[:, None] * (v - 0.6).abs()).min(1).values
    found = run_attack(BehindAHill(), x, target, lambdas, max_iterations=200, batch_size=8)
    torch.testing.assert_close(found.objective[:, 0].double(), least, rtol=1e-3, atol=0)
    monkeypatch.setattr(rounds, "explore", lambda problem, lambdas, rows, pairs, turn: rows)
    missed = run_attack(BehindAHill(), x, target, lambdas, max_iterations=200, batch_size=8)
    assert (missed.objective[:, 0] > 1.4 * least).all()


def test_the_valley_is_followed_down_from_the_larger_weights():
    model, x, target = make_encoder(gain=6.0), make_images(2), make_images(2, seed=2)
    lambdas = torch.tensor([2.0**k for k in range(-14, 3, 4)])
    fast = run_attack(model, x, target, lambdas, effort="fast")
    deep = run_attack(model, x, target, lambdas)
    small = fast.objective < rounds.SMALL * fast.initial_divergence  # no row of these walks
    assert small.any() and (deep.objective <= fast.objective).all()
    assert (deep.objective[small] < 0.997 * fast.objective[small]).any()


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 13, 9)])
def test_a_pair_is_the_same_alone_in_any_company_and_in_any_block(shape, monkeypatch):
    monkeypatch.setitem(EFFORTS, "thorough", 3)  # one of each kind
    model, x, target = make_encoder(shape, gain=4.0), make_images(3, shape), make_images(3, shape, seed=2)
    options = SHORT | {"effort": "thorough"}
    whole = run_attack(model, x, target, LAMBDAS, **options)
    alone = run_attack(model, x[2:3], target[2:3], LAMBDAS, **options)
    turned = run_attack(model, x.flip(0), target.flip(0), LAMBDAS.flip(0), **options)
    blocks = [run_attack(model, x, target, some, envelope=False, **options) for some in LAMBDAS.split(4)]
    own = AttackResult(**{name: torch.cat([getattr(b, name) for b in blocks]) for name in vars(whole)})
    together = run_attack(model, x, target, LAMBDAS, own=own, **options)
    for name, value in vars(whole).items():
        assert torch.equal(value[:, 2], getattr(alone, name)[:, 0]), name
        assert torch.equal(value, getattr(turned, name).flip(0, 1)), name
        assert torch.equal(value, getattr(together, name)), name


def test_a_walk_is_the_same_for_a_row_alone_and_at_every_number_of_slots_that_rounds_alike():
    random = torch.Generator().manual_seed(0)
    x, start = torch.rand(7, 2, generator=random), torch.rand(7, 2, generator=random)
    lambda_ = torch.logspace(-3, 0, 7)
    whole = momentum.descend(bent_valley, x, lambda_, start, slots=4, steps=40)
    small = momentum.descend(bent_valley, x, lambda_, start, slots=4, sizes=[1, 2], steps=40)
    alone = [
        momentum.descend(bent_valley, x[r : r + 1], lambda_[r : r + 1], start[r : r + 1], slots=4, steps=40)
        for r in range(7)
    ]
    for name, value in vars(whole).items():
        assert torch.equal(value.nan_to_num(7), getattr(small, name).nan_to_num(7)), name
        rows = torch.cat([getattr(solution, name) for solution in alone])
        assert torch.equal(value.nan_to_num(7), rows.nan_to_num(7)), name


def test_rows_that_are_not_finite_stay_as_they_are():
    def hole(u, row):
        value, grad = bent_valley(u, row)
        return torch.where(row == 1, torch.nan, value), torch.where((row == 1)[:, None], torch.nan, grad)

    x, start = torch.full((3, 2), 0.4), torch.full((3, 2), 0.6)
    solution = momentum.descend(hole, x, torch.ones(3), start, slots=4, steps=30)
    assert torch.equal(solution.u[1], start[1]) and solution.objective[1].isnan()
    assert solution.objective[[0, 2]].isfinite().all() and torch.equal(solution.u[0], solution.u[2])


def test_an_unknown_effort_is_refused_in_one_line():
    x = make_images(1)
    with pytest.raises(Refused) as error:
        run_attack(make_encoder(), x, x, LAMBDAS, effort="high")
    assert str(error.value) == "effort: 'high' is not one of fast, default, thorough"
