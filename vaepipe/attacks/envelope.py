"""The lower envelope over λ: a distortion found at one λ is a candidate at every other λ of the same pair.

The best objective is concave and non-decreasing in λ: it is the lower envelope of the lines φ(x + d) + λ‖d‖₂
over all d. Each distortion that is found gives one such line, as does d = 0, and a row takes the lowest line
at its λ. Then rows are solved again, in `ROUNDS` rounds:

1. Rows that are solved on their own all start at x, and some end in a poor local minimum. The rows of every
   STRIDE-th λ are solved again from the target, where the divergence is zero.
2. All other rows are solved again. Where the objective is small beside φ(x), which the stopping rule of a row
   compares it with, the row starts at its line and stops at a tolerance nearer to its objective. Elsewhere it
   starts at the distortion of the next smaller λ.
3. Rows for which another line is lower are solved again from that line.

Rows of different pairs do not meet.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vaepipe.attacks.penalised_rows import PenalisedProblem, Rows

ROUNDS = 3
GAIN, LEAST = 1e-2, 1e-5
"""A row is solved again from another line that is lower by GAIN × the row's objective + LEAST × φ(x)."""
STRIDE = 4
"""The rows of every STRIDE-th λ, in increasing order, are solved again from the target."""
SMALL, COARSER, FLOOR = 0.1, 2, 0.005
"""Rows with an objective below SMALL × φ(x) are solved again with COARSER × the tolerance. The stopping rule
then counts φ(x) only by the factor FLOOR."""
FINER = 0.1
"""The other rows are solved again with FINER × the tolerance."""
SHARE = 0.5
"""A row that is solved again may take this share of the evaluations of a row on its own."""


def lower_envelope(problem: PenalisedProblem, lambdas: Tensor, own: Rows) -> Rows:
    """Return (L, P) rows, none above ``own``.

    Args:
        lambdas: (L,), in any order.
        own: (L, P) rows as solved on their own.
    """
    best, order = own, lambdas.argsort()
    anchor = torch.zeros_like(own.converged)
    anchor[order[::STRIDE]] = True
    next_smaller = order[(order.argsort() - 1).clamp(min=0)]
    for turn in range(ROUNDS):
        again = lowest_lines(lambdas, best, GAIN, LEAST)[0]
        best = best.where(*lowest_lines(lambdas, best))
        small, start = best.objective < SMALL * best.initial_divergence, best.d
        if turn == 0:
            again = anchor & (best.norm > 0)
            if problem.target is not None:
                start = (problem.target - problem.x).expand_as(start)
        if turn == 1:
            start = torch.where(small[..., None], start, start[next_smaller])
            again = torch.where(small, ~anchor, (start != 0).any(-1))
        if turn > 1 and not again.any():
            break
        best = solve_again(problem, lambdas, best, start, again, torch.where(small, COARSER, FINER))
    return best.where(*lowest_lines(lambdas, best))


def solve_again(
    problem: PenalisedProblem,
    lambdas: Tensor,
    rows: Rows,
    start: Tensor,
    which: Tensor,
    tolerance_factor: Tensor,
    floor: float = FLOOR,
    share: float = SHARE,
) -> Rows:
    """Return the rows (L, P) after solving some again, where that gives a lower objective.

    Args:
        start: (L, P, n) distortions.
        which: (L, P), true for the rows that are solved again.
        tolerance_factor: (L, P).
        floor: what φ(x) counts in the stopping rule, beside what it counts for a row on its own.
        share: of the evaluations of a row on its own.
    """
    row, pair = which.nonzero().unbind(1)
    if not len(row):
        return rows
    u, initial = (problem.x[pair] + start[row, pair]).clamp(0, 1), rows.initial_divergence[row, pair]
    solved = problem.restart(pair, lambdas[row], u, floor * initial, tolerance_factor[row, pair], share)
    solved.initial_divergence = initial
    return put_lower(rows, row, pair, solved)


def put_lower(rows: Rows, row: Tensor, pair: Tensor, solved: Rows) -> Rows:
    """Return the rows (L, P) with those of ``solved`` (R,), at ``row`` and ``pair`` (R,), that are lower.

    The evaluations of all of them are added to those of ``rows``.
    """
    solved.iterations += rows.iterations[row, pair]
    again = Rows(**{name: value.clone() for name, value in vars(rows).items()})
    for name, value in vars(again).items():
        value[row, pair] = getattr(solved, name)
    rows.iterations[row, pair] = solved.iterations
    return rows.where(~(again.objective >= rows.objective) & again.objective.isfinite(), again)


def lowest_lines(lambdas: Tensor, rows: Rows, gain: float = 0, least: float = 0) -> tuple[Tensor, Rows]:
    """Return the rows on the lowest lines, and where these are lower than the rows' own.

    Args:
        rows: (L, P).
        gain, least: a line counts as lower from gain × the row's objective + least × φ(x) on.

    Returns:
        Where another line is lower (L, P); rows (L, P) with distortion, divergence and norm of the lowest
        line.
    """
    undistorted = {name: torch.zeros_like(value[:1]) for name, value in vars(rows).items()}
    undistorted |= {"divergence": rows.initial_divergence[:1]}  # a line even if d = 0 is not stationary
    candidates = {
        name: torch.cat([value, undistorted[name]]) for name, value in vars(rows).items()
    }  # L + 1, P
    lines = candidates["divergence"] + lambdas[:, None, None] * candidates["norm"]  # L, L + 1, P
    objective, line = lines.nan_to_num(torch.inf).min(1)
    pair = torch.arange(line.shape[1], device=line.device).expand_as(line)
    lowest = Rows(**{name: value[line, pair] for name, value in candidates.items()})
    lowest.objective, lowest.iterations = objective, rows.iterations
    lowest.initial_divergence = rows.initial_divergence
    own = rows.objective.nan_to_num(torch.inf)
    initial = rows.initial_divergence.abs().nan_to_num(0, 0, 0)
    margin = gain * own.abs().nan_to_num(0, 0, 0) + least * initial
    return objective < own - margin, lowest
