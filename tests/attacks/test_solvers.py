"""Solvers on problems with known answers, each row independent of the others; their parts one by one."""

import math

import numpy as np
import pytest
import torch
from conftest import make_images
from scipy.optimize import minimize

from vaepipe.attacks.solvers import lbfgs, scipy_lbfgsb
from vaepipe.attacks.solvers.direction import inverse_hessian_product
from vaepipe.attacks.solvers.history import History
from vaepipe.attacks.solvers.lbfgs import minimise
from vaepipe.attacks.solvers.line_search import shorter_step, sufficient_decrease
from vaepipe.attacks.solvers.projections import project_l2, project_linf
from vaepipe.attacks.solvers.slots import RowQueue
from vaepipe.attacks.solvers.spectral_gradient import descend
from vaepipe.attacks.solvers.window import Window

SOLVERS = {"lbfgs": lbfgs.minimise, "scipy": scipy_lbfgsb.minimise}


def quadratic(goal, weight=1.0):
    """φ(u) = weight ‖u − goal‖² / 2 of each row, and its gradient; ``goal``: (R, n)."""

    def value_and_grad(u, row):
        gap = u - goal[row]
        return weight * gap.square().sum(-1) / 2, weight * gap

    return value_and_grad


def valley(u, _):
    """Rosenbrock's function, shifted into the box, and its gradient; the minimum is 0."""
    with torch.enable_grad():
        v = (u * 2 - 0.5).requires_grad_()
        value = (100 * (v[:, 1:] - v[:, :-1] ** 2) ** 2 + (1 - v[:, :-1]) ** 2).sum(-1)
        (grad,) = torch.autograd.grad(value.sum(), v)
    return value.detach(), 2 * grad


@pytest.mark.parametrize("method", SOLVERS)
@pytest.mark.parametrize("from_goal", [False, True])
def test_a_penalised_quadratic_has_a_closed_form(method, from_goal):
    # the norm shortens the way from x to the goal by λ / weight, and to nothing from λ = weight × way on
    random, weight = torch.Generator().manual_seed(0), 3.0
    x, goal = (0.2 + 0.6 * torch.rand(6, 9, generator=random, dtype=torch.float64) for _ in range(2))
    way = (goal - x).norm(dim=1)
    lambda_ = weight * way * torch.tensor([0.01, 0.1, 0.5, 0.9, 0.99, 1.2])
    value_and_grad = quadratic(goal, weight)
    initial = value_and_grad(x, torch.arange(6))[0]
    options = {"start": goal, "initial": initial} if from_goal else {}
    solution = SOLVERS[method](value_and_grad, x, lambda_, slots=4, tolerance=1e-9, **options)
    share = (1 - lambda_ / (weight * way)).clamp(min=0)
    expected = x + share[:, None] * (goal - x)
    torch.testing.assert_close(solution.u, expected, atol=2e-4, rtol=0)
    divergence = value_and_grad(expected, torch.arange(6))[0]
    torch.testing.assert_close(solution.objective, divergence + lambda_ * share * way, rtol=1e-6, atol=0)
    torch.testing.assert_close(solution.objective, solution.divergence + lambda_ * solution.norm)
    torch.testing.assert_close(solution.norm, (solution.u - x).norm(dim=1))
    torch.testing.assert_close(solution.initial_divergence, initial)
    assert solution.converged.all() and solution.iterations.dtype == torch.int32


@pytest.mark.slow
@pytest.mark.parametrize("n", [16, 23])
def test_a_row_is_independent_of_the_others_of_their_number_and_of_the_sizes(n):
    random = torch.Generator().manual_seed(1)
    x, lambda_ = torch.rand(13, n, generator=random), 2.0 ** torch.linspace(-12, 3, 13)
    whole = minimise(valley, x, lambda_, slots=4, max_iterations=150)
    assert whole.iterations.unique().numel() > 5
    smaller = minimise(valley, x, lambda_, slots=4, sizes=[1, 2], max_iterations=150)
    order = torch.randperm(13, generator=random)
    turned = minimise(valley, x[order], lambda_[order], slots=4, max_iterations=150)
    for name in vars(whole):
        expected = getattr(whole, name)
        assert torch.equal(expected, getattr(smaller, name)), name
        assert torch.equal(expected[order], getattr(turned, name)), name
    for r in (0, 6, 12):
        alone = minimise(valley, x[r : r + 1], lambda_[r : r + 1], slots=4, max_iterations=150)
        assert torch.equal(alone.u[0], whole.u[r]) and alone.iterations[0] == whole.iterations[r]


def test_tolerance_and_budget_are_each_row_s():
    x, lambda_, tolerance = torch.full((3, 10), 0.3), torch.full((3,), 1e-6), torch.tensor([1e-1, 1e-3, 1e-6])
    solution = minimise(valley, x, lambda_, tolerance=tolerance, max_iterations=2000)
    assert (
        (solution.iterations.diff() > 0).all()
        and (solution.objective.diff() < 0).all()
        and solution.converged.all()
    )
    bounded = minimise(valley, x, lambda_, tolerance=0, max_iterations=17)
    assert (bounded.iterations == 17).all() and not bounded.converged.any()


def test_a_row_without_finite_values_is_not_converged_and_leaves_the_others_alone():
    def value_and_grad(u, row):
        value, grad = (u - 0.7).square().sum(-1), 2 * (u - 0.7)
        return torch.where(row == 1, torch.nan, value), torch.where((row == 3)[:, None], torch.nan, grad)

    solution = minimise(value_and_grad, torch.full((4, 4), 0.2), torch.full((4,), 1e-3), slots=2)
    assert solution.converged.tolist() == [True, False, True, False]
    assert torch.equal(solution.u[[1, 3]], torch.full((2, 4), 0.2))
    assert (
        solution.objective[1].isnan()
        and solution.divergence[1].isnan()
        and solution.residual[[1, 3]].isnan().all()
    )
    torch.testing.assert_close(solution.u[0], torch.full((4,), 0.7), atol=1e-3, rtol=0)


def test_bounds_hold_where_the_minimum_lies_outside():
    goal = torch.tensor([1.5, -0.4, 0.3, 0.9])
    solution = minimise(
        lambda u, _: ((u - goal).square().sum(-1), 2 * (u - goal)),
        torch.full((1, 4), 0.5),
        torch.tensor([1e-6]),
    )
    torch.testing.assert_close(solution.u[0], goal.clamp(0, 1), atol=1e-3, rtol=0)
    assert solution.residual[0] < 1e-2


def test_a_curved_valley_in_many_dimensions_is_followed_to_its_end():
    # Rosenbrock shifted into the box, against its known minimum
    x = torch.full((2, 10), 0.3)
    solution = minimise(valley, x, torch.tensor([1e-6, 1e-6]), max_iterations=2000, tolerance=1e-6)
    assert (solution.divergence < 1e-3).all() and (solution.iterations < 500).all()


def test_the_direction_is_that_of_the_textbook_s_two_loops():
    # five pairs of a convex quadratic in a memory of three, of which the last three count
    random = torch.Generator().manual_seed(0)
    A, n, m = 2, 16, 3
    root = torch.randn(n, n, generator=random, dtype=torch.float64)
    hessian, x = root @ root.T + torch.eye(n), torch.zeros(A, n, dtype=torch.float64)
    history, pairs = History(x, m), []
    history.forget(torch.arange(A))
    for _ in range(6):
        s, g = (torch.randn(A, n, generator=random, dtype=torch.float64) for _ in range(2))
        if len(pairs) == 0:
            s.zero_()  # not a candidate
        step, change, free_g = history.buffers()
        step.copy_(s), change.copy_(s @ hessian), free_g.copy_(g)
        products = history.learn(torch.full((A,), bool(s.any())))
        pairs += [(s, s @ hessian)]
        torch.testing.assert_close(
            inverse_hessian_product(history, products, g), -two_loops(g, pairs[1:][-m:])
        )
    history.forget(torch.tensor([1]))
    assert history.count.tolist() == [5, 0]


def two_loops(g, pairs):
    """(A, n) H g, of the pairs (s, y), oldest first (Nocedal 1980)."""
    q, shares = g, []
    for s, y in reversed(pairs):
        share = (s * q).sum(1, keepdim=True) / (s * y).sum(1, keepdim=True)
        q, shares = q - share * y, [share, *shares]
    if pairs:
        s, y = pairs[-1]
        q = q * (s * y).sum(1, keepdim=True) / (y * y).sum(1, keepdim=True)
    for (s, y), share in zip(pairs, shares):
        q = q + (share - (y * q).sum(1, keepdim=True) / (s * y).sum(1, keepdim=True)) * s
    return q


def test_a_pair_without_curvature_is_not_stored():
    x = torch.zeros(3, 16)
    history = History(x, 2)
    history.forget(torch.arange(3))
    step, change, _ = history.buffers()
    step[:, 0] = 1
    change[:, 0] = torch.tensor([1.0, -1.0, math.nan])
    history.learn(torch.tensor([True, True, True]))
    assert history.count.tolist() == [1, 0, 0]


def test_the_queue_hands_out_each_row_once_and_names_the_busy_slots_when_few_are_left():
    queue, seen = RowQueue(10, 4, torch.device("cpu")), []
    done = torch.ones(4, dtype=torch.bool)
    while done.any():
        slot, row = queue.load(done)
        assert torch.equal(queue.row[slot], row) and queue.busy[slot].all()
        seen += row.tolist()
        remaining = queue.remaining()
        if remaining is not None:
            assert len(queue.row) == 4 and len(remaining) == 2
            queue.keep(remaining)
            assert queue.row.tolist() == [8, 9] and queue.busy.all()
            break
        done = queue.busy.clone()
    assert seen == list(range(10))


def test_a_window_holds_the_last_accepted_values():
    window = Window(torch.tensor([5.0, 9.0]), 3)
    accepted = torch.tensor([True, False])
    oldest = [window.push(torch.tensor([float(k), float(k)]), accepted).tolist() for k in range(4)]
    assert oldest == [[5, 9], [5, 9], [5, 9], [0, 9]]
    assert window.values.tolist() == [[1, 2, 3], [9, 9, 9]] and window.highest().tolist() == [3, 9]


def test_a_refused_step_is_shortened_to_the_parabola_s_minimum_within_bounds():
    # f(t) = (t − c)² from t = 0: slope −2c, refused at t = 1 for c < 1/2; the minimum is c
    c = torch.tensor([0.05, 0.2, 0.4, 0.49])
    before, after, slope = c.square(), (1 - c).square(), -2 * c
    assert not sufficient_decrease(after, before, slope).any()
    torch.testing.assert_close(shorter_step(slope, slope + before - after), c.clamp(min=0.1))
    for step in (1.0, 0.5, 2.0):
        length = torch.full_like(c, step)
        value = (step - c).square()
        shorter = shorter_step(slope * length, slope - (value - before) / length, length)
        torch.testing.assert_close(shorter, torch.maximum(torch.minimum(c, 0.5 * length), 0.1 * length))
    nothing = torch.tensor([math.inf, math.nan, -math.inf])
    assert shorter_step(torch.full((3,), -1.0), -1 - nothing).tolist() == pytest.approx([0.1] * 3)


@pytest.mark.parametrize(("norm", "order"), [("l2", 2), ("linf", math.inf)])
def test_descent_in_a_ball_ends_at_the_projection_of_a_quadratic_s_minimum(norm, order):
    random = torch.Generator().manual_seed(0)
    x, goal = torch.rand(8, 12, generator=random), 3 * torch.rand(8, 12, generator=random) - 1
    radius = torch.linspace(0.05, 3 if norm == "l2" else 1, 8)
    start = torch.zeros_like(x)
    d, value, first = descend(quadratic(goal), x, start, radius, norm, 60)
    project = {"l2": project_l2, "linf": project_linf}[norm]
    expected = project(goal - x, -x, 1 - x, radius)
    torch.testing.assert_close(d, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(value, quadratic(goal)(x + d, torch.arange(8))[0])
    torch.testing.assert_close(first, quadratic(goal)(x, torch.arange(8))[0])
    assert (torch.linalg.vector_norm(d.double(), order, dim=1) <= radius).all()


def test_projections_are_the_nearest_points():
    random = torch.Generator().manual_seed(0)
    for n in (1, 3, 12):
        x = torch.rand(20, n, generator=random, dtype=torch.float64) * 1.6 - 0.3
        x = x.clamp(0, 1)
        v = torch.randn(20, n, generator=random, dtype=torch.float64) * 10 ** (
            2 * torch.rand(20, 1, generator=random) - 1
        )
        radius = torch.rand(20, generator=random, dtype=torch.float64) * n**0.5
        l2, linf = (project(v, -x, 1 - x, radius) for project in (project_l2, project_linf))
        assert (l2.norm(dim=1) <= radius).all() and (linf.abs() <= radius[:, None]).all()
        for d in (l2, linf):
            assert (d >= -x).all() and (d <= 1 - x).all()
        for b in range(20):
            flat, to, r = x[b].numpy(), v[b].numpy(), float(radius[b])
            inside = {"type": "ineq", "fun": lambda d, r=r: r**2 - d @ d, "jac": lambda d: -2 * d}
            near = minimize(
                lambda d, to=to: ((d - to) @ (d - to), 2 * (d - to)),
                l2[b].numpy() * 0.9,
                jac=True,
                method="SLSQP",
                bounds=list(zip(-flat, 1 - flat)),
                constraints=inside,
                options={"ftol": 1e-14},
            )
            assert float((l2[b] - v[b]).square().sum()) <= near.fun * (1 + 1e-8) + 1e-9
            brute = np.clip(np.clip(to, -r, r), -flat, 1 - flat)
            np.testing.assert_array_equal(linf[b].numpy(), brute)


def test_projection_onto_a_ball_with_pixels_at_their_bounds_meets_the_optimality_conditions():
    # d = clip(s v), with s < 1 only where the ball is met
    x = make_images(30, (1, 28, 28)).flatten(1)
    v = torch.randn(30, 784, generator=torch.Generator().manual_seed(1)) * torch.logspace(-3, 3, 30)[:, None]
    radius = torch.linspace(0.01, 25, 30)
    d = project_l2(v, -x, 1 - x, radius)
    cut = v.double().clamp(-x, 1 - x)
    inside = cut.norm(dim=1) < radius * 0.9999
    torch.testing.assert_close(d[inside], cut[inside].float())
    size = d.double().norm(dim=1)
    assert (size <= radius).all() and 0 < inside.sum() < 30
    torch.testing.assert_close(size[~inside], radius[~inside].double(), rtol=1e-5, atol=0)
    for row in (~inside).nonzero()[:, 0].tolist():
        free = (d[row] > -x[row]) & (d[row] < 1 - x[row]) & (v[row] != 0)
        s = d[row, free].double() / v[row, free].double()
        torch.testing.assert_close(s, s.mean().expand_as(s), rtol=1e-4, atol=0)
        clipped = (s.mean() * v[row].double()).clamp(-x[row], 1 - x[row])
        torch.testing.assert_close(d[row].double(), clipped, rtol=1e-4, atol=1e-7)
