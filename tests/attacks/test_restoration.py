"""Steps with restoration: problems with known answers, folds where descents stall, rows that keep apart."""

from dataclasses import replace

import pytest
import torch
from conftest import make_images
from outside_models import make_encoder
from scipy.optimize import minimize

from vaepipe.attacks import penalised_rows, rounds
from vaepipe.attacks.loss import find_loss
from vaepipe.attacks.objective import Objective
from vaepipe.attacks.penalised import run_attack
from vaepipe.attacks.penalised_rows import PenalisedProblem
from vaepipe.attacks.solvers import lbfgs, momentum, restoration


def with_jacobian(residuals):
    """``residuals`` (u, row) → (B, m), and the same with its Jacobian (B, m, n)."""

    def jacobian(u, row):
        def summed(u):
            r = residuals(u, row)
            return r.sum(0), r

        J, r = torch.func.jacrev(summed, has_aux=True)(u)
        return r.detach(), J.transpose(0, 1)

    return residuals, jacobian


def descend(residuals, x, lambda_, start, **options):
    return restoration.descend(
        *with_jacobian(residuals), x, lambda_, start, **{"slots": 4, "steps": 30, "first": 0.5} | options
    )


def objective(residuals, x, lambda_, u):
    return 0.5 * residuals(u, torch.arange(len(u))).square().sum(1) + lambda_ * (u - x).norm(dim=1)


def value_and_grad(residuals):
    def function(u, row):
        with torch.enable_grad():
            u = u.requires_grad_()
            value = 0.5 * residuals(u, row).square().sum(1)
            (grad,) = torch.autograd.grad(value.sum(), u)
        return value.detach(), grad

    return function


@pytest.mark.parametrize("weight", [1.0, 1e3])
def test_linear_residuals_are_solved_as_by_scipy_at_bounds_too(weight):
    random = torch.Generator().manual_seed(0)
    A = weight * torch.randn(3, 8, generator=random, dtype=torch.float64)
    x = torch.rand(6, 8, generator=random, dtype=torch.float64).round(decimals=1)
    goal = torch.rand(6, 8, generator=random, dtype=torch.float64)
    lambda_ = torch.logspace(-3, 0, 6, dtype=torch.float64)

    def residuals(u, row):
        return (u - goal[row]) @ A.T

    u = descend(residuals, x, lambda_, goal, steps=60)
    found, at_a_bound = objective(residuals, x, lambda_, u), 0
    for r in range(6):

        def function(v, r=r):
            gap = A.numpy() @ (v - goal[r].numpy())
            d = v - x[r].numpy()
            size = (d @ d) ** 0.5 + 1e-15
            return gap @ gap / 2 + lambda_[r].item() * size, gap @ A.numpy() + lambda_[r].item() * d / size

        options = {"ftol": 1e-15, "gtol": 1e-12, "maxiter": 10**4, "maxfun": 10**5}
        start = (x[r] + 0.5 * (goal[r] - x[r])).numpy()
        bounds = [(0, 1)] * 8
        best = minimize(function, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        assert found[r] <= best.fun * (1 + 1e-3)
        at_a_bound += ((best.x <= 0) | (best.x >= 1)).sum()
    assert at_a_bound > 0
    assert u.min() >= 0 and u.max() <= 1


def folded(u, row):
    """Residuals of a steep surface, v₀ = zigzag of v₁ … v₅, whose shortest way from x is along its folds."""
    v = 2 * u - 1
    zigzag = sum((k + 1) * (v[:, 1:] * (k + 1) + k / 7).frac().abs() for k in range(3)).sum(1) / 10
    return torch.stack([1e3 * (v[:, 0] - zigzag), v[:, 1] + v[:, 2] - 0.4], 1)


def test_it_follows_a_folded_surface_on_which_descents_stall():
    random = torch.Generator().manual_seed(1)
    x, start = (torch.rand(12, 6, generator=random) for _ in range(2))
    lambda_ = torch.full((12,), 1e-2)
    phi = value_and_grad(folded)
    u = descend(folded, x, lambda_, start, steps=40)
    found = objective(folded, x, lambda_, u)
    initial = phi(x.clone(), torch.arange(12))[0]
    stalled = lbfgs.minimise(phi, x, lambda_, start=start, initial=initial, tolerance=1e-9).objective
    walked = momentum.descend(phi, x, lambda_, start, slots=4, steps=500).objective
    assert (found < 0.99 * stalled).float().mean() > 0.5 and (found / stalled).log().mean() < -0.2
    assert (found / walked).log().mean() < -0.2


def test_a_row_is_the_same_alone_and_at_every_number_of_slots_and_never_above_its_start():
    random = torch.Generator().manual_seed(2)
    x, start = (torch.rand(7, 6, generator=random) for _ in range(2))
    lambda_ = torch.logspace(-4, 0, 7)
    whole = descend(folded, x, lambda_, start)
    assert torch.equal(whole, descend(folded, x, lambda_, start, sizes=[1, 2]))
    for r in range(7):
        alone = [t[r : r + 1] for t in (x, lambda_, start)]
        assert torch.equal(whole[r : r + 1], descend(folded, *alone))
    before, after = (objective(folded, x, lambda_, u) for u in (start, whole))
    assert (after <= before).all() and (after < before).any()


def test_a_row_without_finite_residuals_stays_where_it_is_and_leaves_the_others_alone():
    def hole(u, row):
        return torch.where((row == 1)[:, None], torch.nan, folded(u, row))

    x, start = torch.full((3, 6), 0.4), torch.full((3, 6), 0.6)
    u = descend(hole, x, torch.ones(3), start)
    assert torch.equal(u[1], start[1]) and torch.equal(u[0], u[2]) and u.isfinite().all()


def problem_of(loss="latent-kl", max_iterations=500, dtype=torch.float32):
    x, target = make_images(3).to(dtype), make_images(3, seed=2).to(dtype)
    model = make_encoder(gain=6.0).to(dtype)
    attacked = Objective(model, x, target, find_loss(loss), seed=0, draws=2, batch_size=16)
    return PenalisedProblem(attacked, solver="lbfgs", max_iterations=max_iterations, tolerance=1e-4)


def test_the_jacobian_of_an_attack_is_that_of_its_residuals_and_passes_are_counted():
    problem, u = problem_of(dtype=torch.float64), make_images(3, seed=5).flatten(1).double()
    pair = torch.tensor([2, 0, 1])
    attacked = problem.objective
    r, J = attacked.residuals_and_jacobian(u, pair)
    torch.testing.assert_close(r, attacked.residuals_at(u, pair))
    whole = torch.autograd.functional.jacobian(
        lambda v: attacked.residuals(v.unflatten(1, attacked.image_shape), pair), u
    )
    torch.testing.assert_close(J, torch.stack([whole[i, :, i] for i in range(3)]))
    assert attacked.residual_count == r.shape[1] == 8
    assert problem.jacobian_sizes[-1] == 16  # are tried now, not by the first steps
    of_the_loss, forward, steps = attacked.residuals, [], problem.restoration_steps(100)

    def counted(u, pair):
        forward.append(len(u))
        return of_the_loss(u, pair)

    attacked.residuals = counted
    spent = problem.restore(pair, torch.full((3,), 1e-3).to(u), u, steps, 0.5)[1]
    passes = len(forward) + 8 * steps  # a backward pass for each residual
    assert passes / 2 <= spent < passes / 2 + 1 and spent <= 100 < spent + passes / steps / 2


class Doubled(torch.autograd.Function):
    """2 x, whose backward pass has no rule for several gradients at once."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return torch.from_numpy(2 * g.numpy())


def test_a_model_whose_backward_pass_takes_one_gradient_at_a_time_has_the_same_jacobian():
    problem, u = problem_of(dtype=torch.float64), make_images(3, seed=5).flatten(1).double()
    pair = torch.tensor([2, 0, 1])
    attacked = problem.objective
    of_the_loss = attacked.residuals
    attacked.residuals = lambda u, pair: 2 * of_the_loss(u, pair)
    r, J = attacked.residuals_and_jacobian(u, pair)
    attacked.residuals = lambda u, pair: Doubled.apply(of_the_loss(u, pair))
    for _ in range(2):
        again = attacked.residuals_and_jacobian(u, pair)
        assert torch.equal(again[0], r)
        torch.testing.assert_close(again[1], J)
    assert not attacked.vectorised


@pytest.mark.parametrize("loss", ["latent-kl", "latent-w2"])
def test_rounds_with_restoration_end_lower_in_the_valley_than_rounds_without(loss):
    model, x, target = make_encoder(gain=6.0), make_images(2), make_images(2, seed=2)
    lambdas = torch.tensor([2.0**k for k in range(-14, 0, 3)])
    loss, options = find_loss(loss), {"max_iterations": 200}
    without = run_attack(model, x, target, lambdas, replace(loss, residuals=None), **options)
    found = run_attack(model, x, target, lambdas, loss, **options)
    assert found.objective.log().mean() < without.objective.log().mean() - 0.01
    assert (found.objective < 1.01 * without.objective).all()


@pytest.mark.parametrize(
    "effort, max_iterations, of",
    [
        ("fast", 100, [14, 8, 2]),
        ("default", 100, [14, 11, 8, 5, 2]),
        ("default", 22, [14, 2]),
        ("fast", 45, [14, 8, 2]),
    ],
)
def test_the_first_steps_begin_at_the_target_for_as_many_weights_as_evaluations_allow(
    effort, max_iterations, of, monkeypatch
):
    model, x, target = make_encoder(), make_images(2), make_images(2, seed=2)
    lambdas = torch.tensor([2.0**-k for k in (5, 14, 8, 2, 11)])

    class First(Exception):
        """The arguments of the first steps."""

    def restore(self, *arguments):
        raise First(*arguments)

    monkeypatch.setattr(PenalisedProblem, "restore", restore)
    with pytest.raises(First) as stopped:
        run_attack(model, x, target, lambdas, effort=effort, max_iterations=max_iterations)
    pair, lambda_, start, *_ = stopped.value.args
    assert sorted(lambda_.log2().neg().tolist()) == sorted(2 * of)
    torch.testing.assert_close(start, target.flatten(1)[pair])


def test_no_jacobian_is_computed_where_one_row_would_take_too_many_evaluations(monkeypatch):
    monkeypatch.delattr(Objective, "residuals_and_jacobian")
    x, target = make_images(2), make_images(2, seed=2)
    run_attack(make_encoder(), x, target, torch.tensor([2.0**-14, 2.0**-8]), max_iterations=22)
    lambdas = torch.tensor([2.0**-k for k in (2, 5, 8, 11, 14)])
    run_attack(make_encoder(), x, target, lambdas, effort="fast", max_iterations=22)
    with pytest.raises(AttributeError):
        run_attack(make_encoder(), x, target, torch.tensor([2.0**-14, 2.0**-8]), max_iterations=100)


def test_jacobians_of_a_batch_fit_into_memory(monkeypatch):
    whole = problem_of(dtype=torch.float64)
    n, u = whole.x.shape[1], (whole.x + 0.1).clamp(0, 1)
    for most, slots in ((16 * 8 * n, 16), (15 * 8 * n, 8), (8 * n - 1, 1)):
        monkeypatch.setattr(penalised_rows, "MOST_ENTRIES", most)
        problem = problem_of(dtype=torch.float64)
        assert problem.jacobian_sizes[-1] == slots
        args = torch.arange(3), torch.full((3,), 2.0**-8).to(u), u, 8, 0.5
        torch.testing.assert_close(problem.restore(*args)[0], whole.restore(*args)[0])


def test_where_the_steps_are_too_few_or_the_loss_has_no_residuals_there_are_none():
    assert rounds.restoration_steps(problem_of()) == rounds.RESTORE
    assert rounds.restoration_steps(problem_of(max_iterations=40)) == 0
    assert rounds.restoration_steps(problem_of("output")) == 0
