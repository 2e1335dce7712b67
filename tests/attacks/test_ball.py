"""Attacks of bounded size against closed forms and SciPy."""

import math

import numpy as np
import pytest
import torch
from conftest import make_images
from outside_models import make_encoder
from scipy.optimize import minimize
from test_attacks import Linear

from vaepipe.attacks import ball
from vaepipe.attacks.ball import run_ball_attack
from vaepipe.attacks.penalised import run_attack
from vaepipe.attacks.penalised_rows import PenalisedProblem
from vaepipe.attacks.solvers import momentum
from vaepipe.models.distributions import DiagonalNormal
from vaepipe.trust.masking import descend

RADII = torch.tensor([0.3, 1.0, 2.5])
NORMS = {"l2": 2, "linf": math.inf}


@pytest.fixture(autouse=True)
def short_path(few_weights, monkeypatch):
    """The penalised attack before takes a fifth of the evaluations."""

    def problem(*arguments, **options):
        return PenalisedProblem(*arguments, **options | {"max_iterations": 100})

    monkeypatch.setattr(ball, "PenalisedProblem", problem)


def norms(d, norm):
    return torch.linalg.vector_norm(d.double().flatten(2), NORMS[norm], dim=2)


@pytest.mark.parametrize("norm", NORMS)
def test_a_linear_encoder_has_a_closed_form(norm):
    # (c − w·d)² within the ball: w·d is at most ε ‖w‖ in the dual norm, reached along w or its signs
    w = torch.tensor([[0.3, -0.2, 0.5, 0.1]])
    x, target = torch.full((1, 1, 2, 2), 0.5), torch.tensor([[0.6, 0.45, 0.7, 0.5]]).view(1, 1, 2, 2)
    radii = torch.tensor([0.02, 0.1, 0.15, 0.4])
    found = run_ball_attack(Linear(w), x, target, radii, "latent-mean", norm=norm)
    c, dual = float((w @ (target - x).flatten()).item()), float(w.norm() if norm == "l2" else w.abs().sum())
    expected = (c - radii * dual).clamp(min=0).square()
    torch.testing.assert_close(found.divergence[:, 0], expected, atol=1e-6, rtol=1e-3)
    reached = expected > 0
    assert 0 < reached.sum() < len(radii)
    direction = w[0] / w.norm() if norm == "l2" else w[0].sign()
    torch.testing.assert_close(
        found.distortion[reached].flatten(1), radii[reached, None] * direction, atol=1e-3 * 0.4, rtol=0
    )
    torch.testing.assert_close(found.initial_divergence, torch.full((4, 1), c**2))


def test_a_two_dimensional_latent_against_scipy_with_the_box_in_force():
    random = np.random.default_rng(0)
    weight, radius = torch.from_numpy(random.normal(size=(2, 9))), 0.6
    x, target = make_images(2, (1, 3, 3)).double(), make_images(2, (1, 3, 3), seed=2).double()
    found = run_ball_attack(
        Linear(weight), x, target, torch.tensor([radius]), "latent-mean", precision="float64", steps=200
    )
    for p in range(2):
        flat, goal = x[p].flatten().numpy(), target[p].flatten().numpy()

        def value(d, flat=flat, goal=goal):
            gap = weight.numpy() @ (flat + d - goal)
            return gap @ gap, 2 * weight.numpy().T @ gap

        inside = {"type": "ineq", "fun": lambda d: radius**2 - d @ d, "jac": lambda d: -2 * d}
        options = {"bounds": list(zip(-flat, 1 - flat)), "constraints": inside, "method": "SLSQP"}
        best = minimize(value, np.zeros(9), jac=True, **options).fun
        assert found.divergence[0, p].item() == pytest.approx(best, rel=1e-3, abs=1e-6)
        touched = (x[p] + found.distortion[0, p]).flatten()
        assert ((touched == 0) | (touched == 1)).any()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", ["latent-kl", "max-damage"])
def test_constraints_hold_and_fields_belong_together(norm, loss):
    model, x, target = make_encoder(), make_images(3), make_images(3, seed=2)
    radii = RADII if norm == "l2" else RADII / 10
    options = {"norm": norm, "steps": 30, "restarts": 2, "effort": None}
    found = run_ball_attack(model, x, target, radii.flip(0), loss, **options)
    adversarial, size = x + found.distortion, norms(found.distortion, norm)
    assert adversarial.min() >= 0 and adversarial.max() <= 1
    assert (size <= radii.flip(0)[:, None]).all() and torch.equal(found.norm, size.float())
    assert (found.divergence < found.initial_divergence).all() and (found.divergence.diff(dim=0) >= 0).all()
    evaluations = 3 * 31 + ball.WALK * 30 + momentum.OTHERS
    assert (found.iterations == evaluations).all() and found.restart.min() >= 0 and found.restart.max() <= 2
    if loss == "latent-kl":
        (goal,), (q,) = model.posterior(target), model.posterior(adversarial.flatten(0, 1))
        value = q.kl(goal.rows(torch.arange(3).repeat(3))).unflatten(0, (3, 3))
        torch.testing.assert_close(found.divergence, value, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_it_does_as_well_at_its_size_as_the_attack_with_a_penalty():
    # a penalised optimum d solves the problem in the ball of radius ‖d‖ too
    model, x, target = make_encoder(), make_images(2), make_images(2, seed=2)
    penalised = run_attack(model, x, target, torch.tensor([2.0]))
    for p in range(2):
        radius = penalised.norm[:, p]
        found = run_ball_attack(model, x[p : p + 1], target[p : p + 1], radius, steps=100, effort=None)
        assert (
            found.divergence[0, 0] <= penalised.divergence[0, p] + 0.01 * penalised.initial_divergence[0, p]
        )


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", ["latent-kl", "max-damage"])
def test_it_is_never_above_a_penalised_distortion_that_the_ball_holds(norm, loss):
    model, x, target = make_encoder(gain=4.0), make_images(3), make_images(3, seed=2)
    radii = RADII if norm == "l2" else RADII / 10
    options = {"norm": norm, "steps": 5, "restarts": 1, "precision": "float64"}
    found = run_ball_attack(model, x, target, radii, loss, effort="fast", **options)
    weights = torch.tensor(ball.WEIGHTS)
    path = run_attack(model, x, target, weights, loss, effort="fast", precision="float64", max_iterations=100)
    inside = norms(path.distortion, norm) <= radii[:, None, None]  # E, L, P
    least = torch.where(inside, path.divergence, torch.inf).amin(1)
    assert (found.divergence <= least + 1e-5 * least.abs()).all() and least.isfinite().any()
    without = run_ball_attack(model, x, target, radii, loss, effort=None, **options)
    more = found.iterations - without.iterations  # the path's, and two starts of 5 steps
    assert torch.equal(more, (path.iterations.sum(0) // 3 + 12).expand(3, 3).int())
    assert found.restart.max() > 1 and (found.restart <= 3).all()


def test_it_goes_lower_than_plain_projected_descent_with_as_many_evaluations():
    # `descend` shares no code with it
    model, x, target = make_encoder(gain=4.0), make_images(6), make_images(6, seed=2)
    goals = model.posterior(target)[0]
    found = run_ball_attack(model, x, target, RADII / 2, restarts=0, steps=60, effort=None)
    for e, radius in enumerate(RADII / 2):
        plain = descend(
            lambda u: model.posterior(u)[0].kl(goals), x, torch.zeros_like(x), radius.expand(6), 60
        )[1]
        assert found.divergence[e].mean() <= plain.mean()
        assert (found.divergence[e] <= 1.05 * plain + 0.01 * found.initial_divergence[e]).all()


@pytest.mark.parametrize("norm", NORMS)
def test_a_ball_that_holds_the_target_leaves_nothing(norm):
    model, x, target = make_encoder(gain=4.0), make_images(5), make_images(5, seed=2)
    radius = 1.001 * norms((target - x)[None], norm).max().float().view(1)
    options = {"norm": norm, "steps": 5, "effort": None}
    alone, both = (run_ball_attack(model, x, target, radius, restarts=r, **options) for r in (0, 1))
    assert (both.divergence <= 1e-6 * both.initial_divergence).all() and (both.restart == 1).all()
    assert (alone.divergence > 1e-4 * alone.initial_divergence).all()


@pytest.mark.parametrize("norm", NORMS)
def test_before_the_walk_more_starts_are_never_worse_and_the_first_stay_the_same(norm, monkeypatch):
    monkeypatch.setattr(ball, "WALK", 0)
    model, x, target = make_encoder(gain=4.0), make_images(5), make_images(5, seed=2)
    few, more, many = (
        run_ball_attack(model, x, target, RADII / 5, norm=norm, restarts=r, steps=12, effort=None).divergence
        for r in (0, 1, 4)
    )
    assert (more <= few).all() and (many <= more).all() and (more < few).any() and (many < more).any()
    options = {"norm": norm, "restarts": 4, "steps": 12, "effort": None}
    other = run_ball_attack(model, x, target, RADII / 5, **options, seed=1)
    assert not torch.equal(other.divergence, many)


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "shape"), [("l2", (1, 8, 8)), ("linf", (1, 13, 9)), ("l2", (1, 13, 9))])
def test_a_pair_is_the_same_bit_for_bit_alone_and_in_any_company(norm, shape):
    model, x, target = make_encoder(shape), make_images(4, shape), make_images(4, shape, seed=2)
    options = {"norm": norm, "steps": 6, "restarts": 2, "batch_size": 16, "effort": "fast"}
    whole = run_ball_attack(model, x, target, RADII, "output", **options)
    turned = run_ball_attack(model, x.flip(0), target.flip(0), RADII.flip(0), "output", **options)
    alone = run_ball_attack(model, x[3:], target[3:], RADII, "output", **options)
    for name, found in vars(whole).items():
        assert torch.equal(found, getattr(turned, name).flip(0, 1)), name
        assert torch.equal(found[:, 3], getattr(alone, name)[:, 0]), name
    smallest = run_ball_attack(model, x[2:3], target[2:3], RADII[:1], "output", **options)
    assert torch.equal(whole.distortion[0, 2], smallest.distortion[0, 0])


def test_what_is_better_at_a_smaller_radius_serves_the_larger(monkeypatch):
    monkeypatch.setattr(ball, "WALK", 0)
    # one step from the start at the larger radius overshoots the optimum; at the smaller it does not
    w = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    x, target = torch.full((1, 1, 2, 2), 0.5), torch.tensor([[0.6, 0.5, 0.5, 0.5]]).view(1, 1, 2, 2)
    options = {"loss": "latent-mean", "steps": 1, "restarts": 0, "effort": None}
    alone = run_ball_attack(Linear(w), x, target, torch.tensor([0.4]), **options)
    both = run_ball_attack(Linear(w), x, target, torch.tensor([0.4, 0.1]), **options)
    assert alone.divergence[0, 0] == alone.initial_divergence[0, 0] and both.divergence[0, 0] < 1e-6
    assert torch.equal(both.distortion[0], both.distortion[1])


def test_a_pair_that_is_not_finite_is_said_so_and_harms_no_other():
    model, x, target = make_encoder(), make_images(3), make_images(3, seed=2)

    class Holed:
        def posterior(self, images):
            (q,) = model.posterior(images)
            bad = images.requires_grad & ((images - x[1]).flatten(1).norm(dim=1) < 1)
            return (DiagonalNormal(torch.where(bad[:, None], torch.nan, q.mean), q.log_std),)

    found, sound = (
        run_ball_attack(m, x, target, RADII[:2] / 2, steps=10, effort="fast") for m in (Holed(), model)
    )
    assert found.divergence[:, 1].isnan().all() and found.initial_divergence[:, 1].isnan().all()
    assert (found.distortion[:, 1] == 0).all()
    assert torch.equal(found.divergence[:, [0, 2]], sound.divergence[:, [0, 2]])


def test_bad_input_is_refused_at_once():
    good = {"model": make_encoder(), "x": make_images(1), "target": make_images(1)}
    good |= {"radii": torch.tensor([1.0])}
    for change, message in [
        ({"radii": torch.tensor([1.0, 0.0])}, "radii: must be a one-dimensional tensor of positive numbers"),
        ({"radii": torch.tensor(1.0)}, "radii: must"),
        ({"radii": torch.tensor([math.inf])}, "radii: must"),
        ({"norm": "l1"}, "norm: 'l1' is not one of l2, linf"),
        ({"steps": 0}, "steps: 0 is less than 1"),
        ({"restarts": -1}, "restarts: -1 is less than 0"),
        (
            {"restarts": 0, "loss": "max-damage"},
            "restarts: 0 is less than 1, which the loss 'max-damage' needs",
        ),
        ({"x": torch.full((1, 1, 8, 8), 1.5)}, "x: holds values outside"),
        ({"model": make_encoder().train()}, "training mode"),
    ]:
        with pytest.raises(ValueError, match=message):
            run_ball_attack(**good | change)
