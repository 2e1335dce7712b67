"""Attacks of bounded size: minimise φ(x + d) over ‖d‖ ≤ ε with x + d in [0,1].

The norm is L2 or L∞. Each pair is attacked from several starts by spectral projected gradient: d = 0, the
target, random points, and distortions of a penalised attack, which finds the way to the target that descents
inside a ball miss. From the best end, a projected walk with momentum goes on over the kinks. The best point
of all counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vaepipe.attacks.arguments import check_arguments
from vaepipe.attacks.envelope import lower_envelope
from vaepipe.attacks.errors import Refused
from vaepipe.attacks.loss import Loss, find_loss, in_batches
from vaepipe.attacks.objective import Objective
from vaepipe.attacks.penalised_rows import PenalisedProblem, Rows, displaced_start
from vaepipe.attacks.resources import in_precision, within_memory
from vaepipe.attacks.rounds import EFFORTS, check_effort, run_rounds
from vaepipe.attacks.solvers import momentum
from vaepipe.attacks.solvers.projections import PROJECTIONS, norm_of
from vaepipe.attacks.solvers.spectral_gradient import descend
from vaepipe.attacks.solvers.vectors import ALIGNMENT, padded
from vaepipe.compute.randomness import seeded_generator

WALK = 4
"""Steps of the walk, as a multiple of those of a start."""
WEIGHTS = [2.0**k for k in range(-20, 20)]
"""λ of the penalised attack. What it finds is of all sizes up to ‖x − x_t‖."""


@dataclass
class BallResult:
    """Attacks of bounded size on P pairs at E radii ε. Divergences have the unit of the loss.

    Attributes:
        distortion: The distortions d (E, P, C, H, W), with x + d in [0,1] and ‖d‖ ≤ ε.
        divergence: The loss (E, P) at x + d. It is never above ``initial_divergence`` and never rises with ε.
        norm: ‖d‖ (E, P), in the norm of the ball.
        initial_divergence: The loss (E, P) at d = 0.
        restart: Number (E, P) of the start that d comes from. 0 is the start at d = 0; R + 1 and R + 2 are
            distortions of the penalised attack, with R = ``restarts``.
        iterations: Number (E, P) of evaluations of the network, all starts together. Each radius has its
            share of those of the penalised attack.
    """

    distortion: Tensor
    divergence: Tensor
    norm: Tensor
    initial_divergence: Tensor
    restart: Tensor
    iterations: Tensor


def run_ball_attack(
    model: Any,
    x: Tensor,
    target: Tensor,
    radii: Tensor,
    loss: str | Loss = "latent-kl",
    *,
    norm: str = "l2",
    restarts: int = 7,
    seed: int = 0,
    draws: int = 4,
    steps: int = 100,
    batch_size: int = 64,
    precision: str = "float32",
    effort: str | None = "default",
) -> BallResult:
    """Attack P pairs of images at E radii ε: minimise loss(x + d, target) with ‖d‖ ≤ ε and x + d in [0,1].

    Each radius and pair has several starts. The results of starts do not depend on each other, as in
    `run_attack`, and the best one is kept. A distortion that is better at a smaller radius is also taken at
    the larger ones.

    Args:
        model: As in `run_attack`.
        x: Images (P, C, H, W) in [0,1], on the device of the model.
        target: Their targets, of the same shape.
        radii: Positive bounds ε (E,), in any order. ‖d‖ is over all pixels, which lie in [0,1].
        loss: As in `run_attack`.
        norm: ``l2`` or ``linf``.
        restarts: Number of starts in addition to d = 0: first the target, if the loss has one, then points
            uniform in the ball.
        seed: Seed of the noise in losses that sample z, and of the starts. Both also depend on the images of
            the pair, and the starts on the radius and their number.
        draws: Number of samples of z in losses that sample it.
        steps: Steps from each start. The walk from the best end takes 4 times as many.
        batch_size: Rows that the network sees at once, as in `run_attack`.
        precision: ``float32`` or ``float64``.
        effort: How long the penalised attack searches whose distortions are starts too: the best one inside
            the ball, and the shortest one outside, projected onto it. None leaves them out.

    Returns:
        The distortions, and what the attack reached with them.

    Raises:
        Refused: As in `run_attack`. Also an unknown norm, ``steps`` below 1, ``restarts`` below 0, or below 1
            for a loss without target.
    """
    loss = find_loss(loss)
    check_arguments(model, x, target, radii, loss, "radii")
    if norm not in PROJECTIONS:
        raise Refused(f"norm: {norm!r} is not one of {', '.join(PROJECTIONS)}")
    if effort is not None:
        check_effort(effort)
    for name, value, least in (("steps", steps, 1), ("restarts", restarts, 0 if loss.has_target else 1)):
        if value < least:
            raise Refused(f"{name}: {value} is less than {least}, which the loss {loss.name!r} needs")
    model, x, target = in_precision(model, x, target, precision)
    radii = radii.to(x)
    displaced = None if loss.has_target else displaced_start(x, target, seed)

    def solve(batch_size: int) -> BallResult:
        objective = Objective(model, x, target, loss, seed=seed, draws=draws, batch_size=batch_size)
        given = objective.x.new_zeros(len(radii), len(x), 0, objective.x.shape[1])
        evaluations = torch.zeros(len(x), dtype=torch.int32, device=x.device)
        if effort:
            rows = penalised_path(objective, displaced, EFFORTS[effort])
            given = starts_on_path(rows, radii, norm)
            evaluations = (rows.iterations.sum(0) // len(radii)).int()
        starts = Starts(x, target, norm, seed, loss.has_target, restarts + 1, given)
        own = starts.count * (steps + 1) + WALK * steps + momentum.OTHERS
        d, divergence, initial = solve_all_starts(objective, starts, radii, steps)
        d, divergence, restart = best_of_starts(d, divergence, radii)
        d, divergence = walk(objective, d, radii, norm, WALK * steps)
        d, divergence, restart = best_of_starts(d[:, :, None], divergence[:, :, None], radii, restart)
        return BallResult(
            distortion=d.unflatten(-1, x.shape[1:]),
            divergence=divergence,
            norm=norm_of(d, norm).to(d),
            initial_divergence=initial,
            restart=restart,
            iterations=evaluations.expand_as(restart) + own,
        )

    return within_memory(solve, batch_size)


@dataclass(frozen=True)
class Starts:
    """The distortions where the descents of each pair start.

    Args:
        x, target: (P, C, H, W).
        norm: of the ball.
        has_target: whether start 1 is the target.
        own: number of starts that are not given.
        given: (E, P, K, n), the others.
    """

    x: Tensor
    target: Tensor
    norm: str
    seed: int
    has_target: bool
    own: int
    given: Tensor

    @property
    def count(self) -> int:
        """Number of starts of each radius and pair."""
        return self.own + self.given.shape[2]

    def start(self, pair: int, radii: Tensor, which: int, number: int) -> Tensor:
        """Return the start (n,) of that number: d = 0, the target, points uniform in the ball, given ones.

        Random points are drawn on the CPU in float32, so that they are the same on every device.

        Args:
            which: number of the radius.
        """
        if number >= self.own:
            return self.given[which, pair, number - self.own].cpu()
        radius = float(radii[which])
        x, target = self.x[pair], self.target[pair]
        n = x.numel()
        if number == 0:
            return torch.zeros(n)
        if number == 1 and self.has_target:
            return (target - x).flatten().cpu()
        images = (image.cpu().numpy().tobytes() for image in (x, target))
        random = seeded_generator("cpu", "ball", self.seed, self.norm, radius, number, *images)
        if self.norm == "linf":
            return radius * (2 * torch.rand(n, generator=random) - 1)
        direction, share = torch.randn(n, generator=random), torch.rand((), generator=random)
        return direction * (radius * share ** (1 / n) / direction.norm())


def penalised_path(objective: Objective, start: Tensor | None, rounds: int) -> Rows:
    """Return the rows (L, P) of a penalised attack at `WEIGHTS`.

    Args:
        start: (P, n) inputs where rows start, for a loss without target.
        rounds: one of `EFFORTS`.
    """
    problem = PenalisedProblem(objective, solver="lbfgs", max_iterations=500, tolerance=1e-4, start=start)
    lambdas = torch.tensor(WEIGHTS).to(objective.x)
    return run_rounds(problem, lambdas, lower_envelope(problem, lambdas, problem.solve(lambdas)), rounds)


def starts_on_path(rows: Rows, radii: Tensor, norm: str) -> Tensor:
    """Return (E, P, 2, n), for each radius and pair the best distortion inside and the shortest one outside.

    Where there is none inside it is 0, and where there is none outside it is the one inside.
    """
    size, pair = norm_of(rows.d, norm), torch.arange(rows.d.shape[1], device=rows.d.device)
    inside = size <= radii[:, None, None]  # E, L, P
    least, best = torch.where(inside, rows.divergence.nan_to_num(torch.inf), torch.inf).min(1)
    within = torch.where(least.isfinite()[..., None], rows.d[best, pair], 0.0)
    length, next_ = torch.where(inside, torch.inf, size).min(1)
    beyond = torch.where(length.isfinite()[..., None], rows.d[next_, pair], within)
    return torch.stack([within, beyond], 2)


def solve_all_starts(
    objective: Objective, starts: Starts, radii: Tensor, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return d (E, P, S, n), φ(x + d) (E, P, S) and φ(x) (E, P), for S starts."""
    E, P, S, n = len(radii), len(objective.x), starts.count, objective.x.shape[1]

    def solve_batch(rows: Tensor) -> Tensor:
        pair, which = rows // S % P, rows // S // P
        radius, numbers = radii[which], (rows % S).tolist()
        points = [starts.start(p, radii, e, s) for p, e, s in zip(pair.tolist(), which.tolist(), numbers)]
        start = torch.stack(points).to(objective.x)

        def value_and_grad(u: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
            return objective.value_and_grad(u, pair[row])

        d, value, first = descend(value_and_grad, objective.x[pair], start, radius, starts.norm, steps)
        return torch.cat([d, value[:, None], first[:, None]], 1)

    rows = torch.arange(E * P * S, device=objective.x.device)
    solved = in_batches(solve_batch, rows, objective.batch_size)
    d, value, first = solved.unflatten(0, (E, P, S)).split([n, 1, 1], dim=-1)
    initial = first[:, :, 0, 0]  # start 0 is d = 0
    return d, value[..., 0], torch.where(initial.isinf(), torch.nan, initial)


def walk(objective: Objective, d: Tensor, radii: Tensor, norm: str, steps: int) -> tuple[Tensor, Tensor]:
    """Return the best d (E, P, n) of a walk with momentum from ``d`` (E, P, n), and φ(x + d) (E, P) there.

    The first step is the one that doubles φ, see `vaepipe.attacks.solvers.momentum`. Where φ is not finite it
    is infinite.

    Args:
        d: in the balls.
    """
    (E, P, n), pad = d.shape, (0, -d.shape[2] % ALIGNMENT)

    def walk_batch(rows: Tensor) -> Tensor:
        pair, radius, x = rows % P, radii[rows // P], objective.x[rows % P]
        low, high = padded(-x, *pad), padded(1 - x, *pad)

        def evaluate(d: Tensor) -> tuple[Tensor, Tensor]:
            value, grad = objective.value_and_grad((x + d[:, :n]).clamp_(0, 1), pair)
            return value.nan_to_num(torch.inf, torch.inf, torch.inf), padded(grad.nan_to_num(0, 0, 0), *pad)

        def project(v: Tensor) -> Tensor:
            return PROJECTIONS[norm](v, low, high, radius)

        start = padded(d.flatten(0, 1)[rows], *pad)
        value, grad = evaluate(start)
        unit = radius if norm == "linf" else radius / n**0.5
        step = momentum.first_step(evaluate, project, start, value, grad, unit, value.abs())
        best = momentum.walk(evaluate, project, start, step, steps)
        return torch.cat([best[:, :n], evaluate(best)[0][:, None]], 1)

    rows = torch.arange(E * P, device=d.device)
    walked = in_batches(walk_batch, rows, objective.batch_size).unflatten(0, (E, P))
    return walked[..., :n], walked[..., n]


def best_of_starts(
    d: Tensor, divergence: Tensor, radii: Tensor, number: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best of all starts at each radius or a smaller one.

    Returns d (E, P, n), divergence (E, P) and number of the start (E, P).

    Args:
        d, divergence: (E, P, S, n) and (E, P, S).
        number: (E, P) of the start, where S is 1; None counts the starts.

    If no start has a finite divergence, d is 0 and the divergence NaN.
    """
    best, least = torch.zeros_like(d[0, :, 0]), torch.full_like(divergence[0, :, 0], torch.inf)
    start = torch.zeros_like(least, dtype=torch.int32)
    best_d, best_divergence = torch.empty_like(d[:, :, 0]), torch.empty_like(divergence[:, :, 0])
    best_start = start.repeat(len(radii), 1)
    for e in radii.argsort().tolist():
        for s in range(d.shape[2]):
            better = divergence[e, :, s] < least
            best = torch.where(better[:, None], d[e, :, s], best)
            least = torch.where(better, divergence[e, :, s], least)
            start = torch.where(better, s if number is None else number[e], start)
        best_d[e], best_start[e] = best, start
        best_divergence[e] = torch.where(least.isinf(), torch.nan, least)
    return best_d, best_divergence, best_start
