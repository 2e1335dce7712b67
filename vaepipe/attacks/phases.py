"""Phases of momentum after the lower envelope: what the effort ``thorough`` adds.

Each phase takes the rows with d ≠ 0. A row takes the lowest line at its λ, see `vaepipe.attacks.envelope`.
Then it walks with momentum, see `vaepipe.attacks.solvers.momentum`, and L-BFGS polishes the best point. It
takes the next phase while a phase lowers it by more than `STILL`, or while another row's line does. So rows
of one pair meet between phases only, and rows of different pairs never.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vaepipe.attacks.envelope import FINER, lowest_lines, put_lower, solve_again
from vaepipe.attacks.penalised_rows import PenalisedProblem, Rows

BOLDNESS = (4.0, 2.0, 1.0, 4.0, 2.0, 1.0)
"""Factor of the first step of the walk, one for each phase."""
STEPS = 2.0
"""Evaluations of a walk, as a share of those of a row on its own."""
POLISH = 0.16
"""The same for the L-BFGS that ends a phase. At small λ it follows the valley further than the walk does."""
STILL = 3e-3
"""Share of the objective by which a phase has to lower a row for it to take the next phase."""


def run_phases(problem: PenalisedProblem, lambdas: Tensor, best: Rows) -> Rows:
    """Return (L, P) rows, none above ``best``.

    A row with d ≠ 0 has converged if its last phase lowered it by at most `STILL` × its objective. Otherwise
    it stopped at its budget, the number of phases. Rows with d = 0 keep what they have.

    Args:
        lambdas: (L,), in any order.
        best: (L, P) rows after the envelope.
    """
    steps = int(STEPS * problem.max_iterations)
    moving = torch.ones_like(best.converged)
    for boldness in BOLDNESS:
        before, best = best.objective, best.where(*lowest_lines(lambdas, best))
        moving = (moving | falls(before, best)) & (best.norm > 0) & best.objective.isfinite()
        if not moving.any():
            break
        before = best.objective
        best = walk_again(problem, lambdas, best, moving, steps, boldness)
        finer = torch.full_like(best.objective, FINER)
        best = solve_again(problem, lambdas, best, best.d, moving, finer, floor=0, share=POLISH)
        moving = moving & falls(before, best)
    before, best = best.objective, best.where(*lowest_lines(lambdas, best))
    settled = ~moving & ~falls(before, best) & best.objective.isfinite()
    best.converged = torch.where(best.norm > 0, settled, best.converged)
    return best


def falls(before: Tensor, rows: Rows) -> Tensor:
    """Return where the objective (L, P) is lower than ``before`` by more than `STILL` of it."""
    return before - rows.objective > STILL * before.abs()


def walk_again(
    problem: PenalisedProblem, lambdas: Tensor, rows: Rows, which: Tensor, steps: int, boldness: float
) -> Rows:
    """Return the rows (L, P), those of the mask ``which`` (L, P) after a walk where that is lower."""
    row, pair = which.nonzero().unbind(1)
    start = (problem.x[pair] + rows.d[row, pair]).clamp(0, 1)
    walked = problem.walk(pair, lambdas[row], start, steps, boldness)
    walked.initial_divergence = rows.initial_divergence[row, pair]
    return put_lower(rows, row, pair, walked)
