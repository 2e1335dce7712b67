"""Attacks of bounded size: minimise φ(x + d) over ‖d‖ ≤ ε with x + d in [0,1].

The norm is L2 or L∞. Each pair is attacked from several starts by spectral projected gradient. From the best
of them, a projected walk with momentum goes on over the kinks. The best point of all counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vaepipe.attacks.arguments import check_arguments
from vaepipe.attacks.errors import Refused
from vaepipe.attacks.loss import Loss, find_loss, in_batches
from vaepipe.attacks.objective import Objective
from vaepipe.attacks.resources import in_precision, within_memory
from vaepipe.attacks.solvers import momentum
from vaepipe.attacks.solvers.projections import PROJECTIONS, norm_of
from vaepipe.attacks.solvers.spectral_gradient import descend
from vaepipe.attacks.solvers.vectors import ALIGNMENT, padded
from vaepipe.compute.randomness import seeded_generator

WALK = 4
"""Steps of the walk, as a multiple of those of a start."""


@dataclass
class BallResult:
    """Attacks of bounded size on P pairs at E radii ε. Divergences have the unit of the loss.

    Attributes:
        distortion: The distortions d (E, P, C, H, W), with x + d in [0,1] and ‖d‖ ≤ ε.
        divergence: The loss (E, P) at x + d. It is never above ``initial_divergence`` and never rises with ε.
        norm: ‖d‖ (E, P), in the norm of the ball.
        initial_divergence: The loss (E, P) at d = 0.
        restart: Number (E, P) of the start that d comes from. 0 is the start at d = 0.
        iterations: Number (E, P) of evaluations of the network, all starts together.
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
    for name, value, least in (("steps", steps, 1), ("restarts", restarts, 0 if loss.has_target else 1)):
        if value < least:
            raise Refused(f"{name}: {value} is less than {least}, which the loss {loss.name!r} needs")
    model, x, target = in_precision(model, x, target, precision)
    radii = radii.to(x)
    starts = Starts(x, target, norm, seed, loss.has_target)
    evaluations = (restarts + 1) * (steps + 1) + WALK * steps + momentum.OTHERS

    def solve(batch_size: int) -> BallResult:
        objective = Objective(model, x, target, loss, seed=seed, draws=draws, batch_size=batch_size)
        d, divergence, initial = solve_all_starts(objective, starts, radii, restarts + 1, steps)
        d, divergence, restart = best_of_starts(d, divergence, radii)
        d, divergence = walk(objective, d, radii, norm, WALK * steps)
        d, divergence, restart = best_of_starts(d[:, :, None], divergence[:, :, None], radii, restart)
        return BallResult(
            distortion=d.unflatten(-1, x.shape[1:]),
            divergence=divergence,
            norm=norm_of(d, norm).to(d),
            initial_divergence=initial,
            restart=restart,
            iterations=torch.full_like(restart, evaluations),
        )

    return within_memory(solve, batch_size)


@dataclass(frozen=True)
class Starts:
    """The distortions where the descents of each pair start.

    Args:
        x, target: (P, C, H, W).
        norm: of the ball.
        has_target: whether start 1 is the target.
    """

    x: Tensor
    target: Tensor
    norm: str
    seed: int
    has_target: bool

    def start(self, pair: int, radius: float, number: int) -> Tensor:
        """Return the start (n,) of that number: d = 0, then the target, then points uniform in the ball.

        Random points are drawn on the CPU in float32, so that they are the same on every device.
        """
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


def solve_all_starts(
    objective: Objective, starts: Starts, radii: Tensor, count: int, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return d (E, P, S, n), φ(x + d) (E, P, S) and φ(x) (E, P), for S = ``count`` starts."""
    E, P, S, n = len(radii), len(objective.x), count, objective.x.shape[1]

    def solve_batch(rows: Tensor) -> Tensor:
        pair, radius = rows // S % P, radii[rows // S // P]
        numbers = (rows % S).tolist()
        points = [starts.start(*row) for row in zip(pair.tolist(), radius.tolist(), numbers)]
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
