"""Rounds of a deeper search after the lower envelope: what the efforts ``default`` and ``thorough`` add.

A ReLU network makes φ piecewise quadratic: a narrow valley full of kinks, where a descent stops early. Two
searches go on from there, each where it is the better one:

* Where the objective is not small beside φ(x), rows walk with momentum, see
  `vaepipe.attacks.solvers.momentum`, and L-BFGS polishes the best point.
* Where it is small, almost the same distortion is best at many λ, and what is left is to follow the valley.
  Rows are solved again from the largest λ to the smallest, each from the distortion of the next larger λ, by
  L-BFGS with a tight tolerance.

Between searches a row takes the lowest line at its λ, see `vaepipe.attacks.envelope`. So rows of one pair
meet, and rows of different pairs never.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from vaepipe.attacks.envelope import FINER, SMALL, lowest_lines, put_lower, solve_again
from vaepipe.attacks.penalised_rows import PenalisedProblem, Rows


@dataclass(frozen=True)
class Effort:
    """How long to search; shares are of the evaluations of a row on its own, ``max_iterations``.

    Attributes:
        rounds: at most; a row takes the next one if the last one lowered it by more than `STILL`.
        walk: share of a walk with momentum.
        above: rows walk whose objective is above this share of φ(x).
        valley: share of a solve in the valley.
    """

    rounds: int = 0
    walk: float = 0
    above: float = 0
    valley: float = 0


EFFORTS = {
    "fast": Effort(),
    "default": Effort(rounds=1, walk=0.5, above=5e-4, valley=0.8),
    "thorough": Effort(rounds=4, walk=2, above=0, valley=1),
}
BOLDNESS = (4.0, 1.0)
"""Factor of the first step of a walk; a round has one walk for each."""
POLISH = 0.16
"""Share of the L-BFGS that ends a walk."""
PROBES = 3
"""Before all rows of a pair walk, every PROBES-th does: if none gains, the others are left as they are."""
STILL = 3e-3
"""Share of the objective by which a search has to lower a row to count as a gain."""


def run_rounds(problem: PenalisedProblem, lambdas: Tensor, best: Rows, effort: Effort) -> Rows:
    """Return (L, P) rows, none above ``best``.

    A row that was searched has converged if its last search lowered it by at most `STILL` × its objective.
    Otherwise it stopped at its budget. This is no certificate: one more search of this kind would gain
    little, another method may gain more.

    Args:
        lambdas: (L,), in any order.
        best: (L, P) rows after the envelope.
    """
    searched = gained = torch.zeros_like(best.converged)

    def take(rows: Rows, taken: Tensor) -> Rows:
        nonlocal searched, gained
        lower = falls(best.objective, rows)
        searched, gained = searched | taken, torch.where(taken, lower, gained | lower)
        return rows

    for turn in range(effort.rounds):
        active = gained if turn else torch.ones_like(gained)
        pairs = active.any(0)
        walking = active & (best.norm > 0) & best.objective.isfinite()
        walking = walking & (best.objective > effort.above * best.initial_divergence)
        probes = walking if turn else every_third(walking, lambdas)
        before = best.objective
        for some in (probes, walking & ~probes):
            for boldness in BOLDNESS:
                taken = some & pairs
                best = take(walk_again(problem, lambdas, best, taken, effort.walk, boldness), taken)
            pairs = (falls(before, best) & probes).any(0)
        valley = (best.norm > 0) & (best.objective < SMALL * best.initial_divergence) & active.any(0)
        best = take(down_the_valley(problem, lambdas, best, valley, effort.valley), valley)
    converged = torch.where(searched, ~gained, best.converged & ~gained)
    best.converged = torch.where(best.norm > 0, converged, best.converged)
    return best


def every_third(walking: Tensor, lambdas: Tensor) -> Tensor:
    """Return every `PROBES`-th row of the mask (L, P), counted from each pair's largest λ; all of a few."""
    order = lambdas.argsort(descending=True)
    number = torch.empty_like(walking, dtype=torch.long)
    number[order] = walking[order].long().cumsum(0)
    probes = walking & (number % PROBES == PROBES // 2)
    return torch.where(probes.any(0), probes, walking)


def falls(before: Tensor, rows: Rows) -> Tensor:
    """Return where the objective (L, P) is lower than ``before`` by more than `STILL` of it."""
    return before - rows.objective > STILL * before.abs()


def walk_again(
    problem: PenalisedProblem, lambdas: Tensor, rows: Rows, which: Tensor, share: float, boldness: float
) -> Rows:
    """Return the rows (L, P) on their lowest lines, those of ``which`` (L, P) after a polished walk."""
    rows = rows.where(*lowest_lines(lambdas, rows))
    row, pair = which.nonzero().unbind(1)
    if not len(row):
        return rows
    start = (problem.x[pair] + rows.d[row, pair]).clamp(0, 1)
    walked = problem.walk(pair, lambdas[row], start, int(share * problem.max_iterations), boldness)
    walked.initial_divergence = rows.initial_divergence[row, pair]
    rows = put_lower(rows, row, pair, walked)
    finer = torch.full_like(rows.objective, FINER)
    return solve_again(problem, lambdas, rows, rows.d, which, finer, floor=0, share=POLISH)


def search_on(problem: PenalisedProblem, pair: Tensor, lambda_: Tensor, d: Tensor) -> Rows:
    """Return rows (R,) after the polished walks of a round from the distortions ``d`` (R, n).

    Args:
        pair, lambda_: (R,).
    """
    initial, steps = torch.zeros_like(lambda_), problem.max_iterations
    for boldness in BOLDNESS:
        start = (problem.x[pair] + d).clamp(0, 1)
        d = problem.walk(pair, lambda_, start, steps, boldness).d
        rows = problem.restart(pair, lambda_, (problem.x[pair] + d).clamp(0, 1), initial, FINER, POLISH)
        d = rows.d
    return rows


def down_the_valley(
    problem: PenalisedProblem, lambdas: Tensor, rows: Rows, which: Tensor, share: float
) -> Rows:
    """Return the rows (L, P), those of ``which`` solved again, from the largest λ to the smallest."""
    order = lambdas.argsort(descending=True)
    for larger, here in pairwise(order):
        rows = rows.where(*lowest_lines(lambdas, rows))
        again = torch.zeros_like(which)
        again[here] = which[here] & (rows.norm[larger] > 0)
        start, finer = rows.d[larger].expand_as(rows.d), torch.full_like(rows.objective, FINER)
        rows = solve_again(problem, lambdas, rows, start, again, finer, floor=0, share=share)
    return rows.where(*lowest_lines(lambdas, rows))
