"""The search after the lower envelope: from the target, and in rounds for the efforts default and thorough.

First rows take Gauss–Newton steps with restoration (`vaepipe.attacks.solvers.restoration`) from the target,
if the loss allows it. They end in a distortion that looks like the target. Another one, which does not, may
be far shorter, but no path leads to it from there. So a round begins with a few such steps of every row from
a random point near x. Few of them find such a distortion, but it serves all rows of their pair.

A ReLU network makes φ piecewise quadratic: a narrow valley full of kinks with many local minima. A row alone
hardly leaves its own. But almost the same distortion is good at many λ, and at large λ, where d is short,
good ones are found most easily. So the round then follows the path of each pair from the largest λ to the
smallest, `AT_ONCE` values of λ at a time. There each row

* takes the lowest line of its pair, see `vaepipe.attacks.envelope`, mostly that of the λ before;
* walks with momentum, if its objective is not small beside φ(x) (`vaepipe.attacks.solvers.momentum`), and is
  solved again from the best point by L-BFGS;
* or, in the valley, where it is small, takes steps with restoration, in one round from a random point near
  its line, in the next one from half way between it and the distortion of a larger λ. A loss that is not a
  sum of few squares has L-BFGS there, with many evaluations and a tight tolerance, at every other λ in turn.

After the rounds all rows take small steps with restoration. Rows of different pairs never meet.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaepipe.attacks.envelope import FINER, lowest_lines, put_lower, solve_again
from vaepipe.attacks.errors import Refused
from vaepipe.attacks.objective import pair_noise
from vaepipe.attacks.penalised_rows import PenalisedProblem, Rows

EFFORTS = {"fast": 0, "default": 4, "thorough": 12}
"""Most rounds; a pair takes the next one if the last one lowered one of its rows by more than `STILL`."""
AT_ONCE = 4
"""Neighbouring λ that are searched at once: with one, a path is longer, with more, batches are fuller."""
SMALL = 1e-2
"""Rows are in the valley where the objective is below this share of φ(x)."""
WALK, POLISH, SOLVE, VALLEY = 0.4, 0.16, 0.2, 1.2
"""Evaluations of a walk, of the L-BFGS that ends it, of a solve and of a search in the valley; all are shares
of those of a row on its own, ``max_iterations``."""
FINEST = 0.005
"""A row in the valley is solved with FINEST × the tolerance."""
RESTORE = 16
"""Steps with restoration."""
FAST_STRIDE = 2
"""`fast` takes those from the target at every FAST_STRIDE-th λ."""
FEWEST = 8
"""With fewer steps, where `VALLEY` allows no more, L-BFGS takes their place."""
FIRST, ASIDE = 0.5, 0.2
"""Share of the way that the first of these steps goes; how far from a line they start, in units of ‖d‖."""
NEAR = (0.15, 0.05, 0.3)
"""Distances from x of the random points near it, in units of ‖x_t − x‖, one for each round, in turn."""
EXPLORE = 8
"""Steps with restoration from such a point."""
DEEP = 1e-5
"""Rows whose objective is below this share of φ(x) do not start near x: from there they end too high."""
SETTLE = 0.05
"""`FIRST` of the last steps."""
BOLDNESS = (4.0, 1.0, 1.0)
"""Factors of the first step of a walk, one for each round, in turn."""
STILL = 3e-3
"""Share of the objective by which a round has to lower a row to count as a gain."""


def check_effort(effort: str) -> None:
    """Check that there is such an effort.

    Raises:
        Refused: there is none.
    """
    if effort not in EFFORTS:
        raise Refused(f"effort: {effort!r} is not one of {', '.join(EFFORTS)}")


def run_rounds(problem: PenalisedProblem, lambdas: Tensor, best: Rows, rounds: int) -> Rows:
    """Return (L, P) rows, none above ``best``, after steps from the target, the rounds and the last steps.

    After rounds, a row with a distortion has converged if the last round of its pair lowered it by at most
    `STILL` × its objective. Otherwise it stopped at its budget. This is no certificate: one more search of
    this kind would gain little, another method may gain more.

    Args:
        lambdas: (L,), in any order.
        best: (L, P) rows after the envelope.
        rounds: at most, one of `EFFORTS`.
    """
    gained = torch.ones_like(best.converged)
    stride, widest = (1, len(lambdas)) if rounds else (FAST_STRIDE, FAST_STRIDE)
    best = start_from_target(problem, lambdas, best, stride, widest)
    for turn in range(rounds):
        pairs = gained.any(0)
        if not pairs.any():
            break
        before, best = best.objective, follow_paths(problem, lambdas, best, pairs, turn)
        gained = torch.where(pairs, before - best.objective > STILL * before.abs(), gained)
    if rounds:
        steps = restoration_steps(problem)
        best = restore_on(problem, lambdas, best, best.d, best.norm > 0, steps, first=SETTLE)
        best = best.where(*lowest_lines(lambdas, best))
        best.converged = torch.where(best.norm > 0, ~gained, best.converged)
    return best


def start_from_target(
    problem: PenalisedProblem, lambdas: Tensor, rows: Rows, stride: int, widest: int
) -> Rows:
    """Return the rows (L, P) after steps with restoration from the target at every ``stride``-th λ.

    With many latent dimensions a step takes many evaluations. Then the stride is wider, so that rows take at
    most `VALLEY` on average. The rows between take over the lines.

    Args:
        widest: there are no steps if the stride had to be wider than this.
    """
    affordable = problem.restoration_steps(VALLEY * problem.max_iterations)
    if problem.target is None or affordable * widest < RESTORE:
        return rows
    which = torch.zeros_like(rows.converged)
    which[lambdas.argsort()[:: max(stride, math.ceil(RESTORE / affordable))]] = True
    start = (problem.target - problem.x).expand_as(rows.d)
    rows = restore_on(problem, lambdas, rows, start, which & (rows.norm > 0), RESTORE)
    return rows.where(*lowest_lines(lambdas, rows))


def follow_paths(problem: PenalisedProblem, lambdas: Tensor, rows: Rows, pairs: Tensor, turn: int) -> Rows:
    """Return the rows (L, P) after one round.

    Args:
        pairs: (P,), true for those that take part.
        turn: number of the round: it decides how near x steps start and how bold walks are, and in the valley
            where steps start or which λ are solved.
    """
    rows, steps = explore(problem, lambdas, rows, pairs, turn), restoration_steps(problem)
    groups = lambdas.argsort(descending=True).split(AT_ONCE)
    for number, here in enumerate(groups):
        now = torch.zeros_like(rows.converged)
        now[here] = pairs
        rows = rows.where(*lowest_lines(lambdas, rows))
        now &= (rows.norm > 0) & rows.objective.isfinite()
        rows = walk_on(problem, lambdas, rows, now & ~in_valley(rows), BOLDNESS[turn % len(BOLDNESS)])
        valley = in_valley(rows)
        if not steps:
            every_other = torch.zeros_like(now)
            every_other[here[turn % 2 :: 2]] = True
            rows = solve_on(problem, lambdas, rows, now & every_other & valley, FINEST, VALLEY)
        else:
            start = rows.d.clone()
            if turn % 2:
                start[here] = (start[here] + start[groups[max(0, number - 1)][: len(here)]]) / 2
            else:
                start[here] += random_vectors(problem, ASIDE * rows.norm[here], f"aside {turn} {number}")
            rows = restore_on(problem, lambdas, rows, start, now & valley, steps)
        rows = solve_on(problem, lambdas, rows, now & ~valley, FINER, SOLVE)
    return rows.where(*lowest_lines(lambdas, rows))


def explore(problem: PenalisedProblem, lambdas: Tensor, rows: Rows, pairs: Tensor, turn: int) -> Rows:
    """Return the rows (L, P) after steps with restoration from a random point near x, another one for each.

    Args:
        pairs, turn: as in `follow_paths`.
    """
    if problem.target is None:
        return rows
    distance = (problem.target - problem.x).norm(dim=1).expand_as(rows.norm)
    start = random_vectors(problem, NEAR[turn % len(NEAR)] * distance, f"near {turn}")
    which = pairs & (rows.norm > 0) & (rows.objective > DEEP * rows.initial_divergence.abs())
    steps = min(EXPLORE, restoration_steps(problem))
    rows = restore_on(problem, lambdas, rows, start, which, steps, polish=0)
    return rows.where(*lowest_lines(lambdas, rows))


def in_valley(rows: Rows) -> Tensor:
    """Return where the objective (L, P) is small beside φ(x)."""
    return rows.objective.abs() < SMALL * rows.initial_divergence.abs()


def walk_on(problem: PenalisedProblem, lambdas: Tensor, rows: Rows, which: Tensor, boldness: float) -> Rows:
    """Return the rows (L, P), those of ``which`` (L, P) after a walk and its polish."""
    row, pair = which.nonzero().unbind(1)
    if not len(row):
        return rows
    start = (problem.x[pair] + rows.d[row, pair]).clamp(0, 1)
    walked = problem.walk(pair, lambdas[row], start, int(WALK * problem.max_iterations), boldness)
    walked.initial_divergence = rows.initial_divergence[row, pair]
    return solve_on(problem, lambdas, put_lower(rows, row, pair, walked), which, FINER, POLISH)


def solve_on(
    problem: PenalisedProblem, lambdas: Tensor, rows: Rows, which: Tensor, finer: float, share: float
) -> Rows:
    """Return the rows (L, P), those of ``which`` (L, P) solved again from where they are.

    Args:
        finer: factor of the tolerance.
        share: of the evaluations of a row on its own.
    """
    factor = torch.full_like(rows.objective, finer)
    return solve_again(problem, lambdas, rows, rows.d, which, factor, floor=0, share=share)


def restoration_steps(problem: PenalisedProblem) -> int:
    """Return how many steps with restoration a row takes in a round; 0 where L-BFGS takes their place."""
    steps = problem.restoration_steps(VALLEY * problem.max_iterations)
    return min(steps, RESTORE) if steps >= FEWEST else 0


def random_vectors(problem: PenalisedProblem, length: Tensor, name: str) -> Tensor:
    """Return random vectors (K, P, n) of that ``length`` (K, P).

    The directions of a pair depend on its images and on the name.
    """
    target = problem.x if problem.target is None else problem.target
    noise = pair_noise(problem.x, target, len(length), problem.x.shape[1], name)
    return noise * (length / noise.norm(dim=-1))[..., None]


def restore_on(
    problem: PenalisedProblem,
    lambdas: Tensor,
    rows: Rows,
    start: Tensor,
    which: Tensor,
    steps: int,
    *,
    first: float = FIRST,
    polish: float = POLISH,
) -> Rows:
    """Return the rows (L, P), those of ``which`` (L, P) after steps with restoration and their polish.

    Args:
        start: (L, P, n) distortions.
        steps: 0 leaves the rows as they are.
        first: as `vaepipe.attacks.solvers.restoration.descend`.
        polish: share of the evaluations of a row on its own.
    """
    row, pair = which.nonzero().unbind(1)
    if not len(row) or not steps:
        return rows
    u = (problem.x[pair] + start[row, pair]).clamp(0, 1)
    u, evaluations = problem.restore(pair, lambdas[row], u, steps, first)
    initial = rows.initial_divergence[row, pair]
    solved = problem.restart(pair, lambdas[row], u, 0 * initial, FINER, polish)
    solved.iterations += evaluations
    solved.initial_divergence = initial
    return put_lower(rows, row, pair, solved)


def search_on(problem: PenalisedProblem, pair: Tensor, lambda_: Tensor, d: Tensor) -> Rows:
    """Return rows (R,) after a long walk from the distortions ``d`` (R, n) and a long solve.

    Where the loss allows it, twice the steps with restoration are tried too.

    Args:
        pair, lambda_: (R,).
    """
    x, initial, steps = problem.x[pair], torch.zeros_like(lambda_), restoration_steps(problem)
    walked = problem.walk(pair, lambda_, (x + d).clamp(0, 1), problem.max_iterations, BOLDNESS[0])
    solved = problem.restart(pair, lambda_, (x + walked.d).clamp(0, 1), initial, FINEST, share=2)
    if not steps:
        return solved
    u, _ = problem.restore(pair, lambda_, (x + solved.d).clamp(0, 1), 2 * steps, FIRST)
    restored = problem.restart(pair, lambda_, u, initial, FINER, POLISH)
    return solved.where(restored.objective < solved.objective, restored)
