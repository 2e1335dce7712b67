"""The lower envelope over λ: what an attack found at one λ is a candidate at every other λ of the same pair.

The best objective is concave and non-decreasing in λ: it is the lower envelope of the lines φ(x + d) + λ‖d‖₂ over all d.
Each d that was found is one such line, d = 0 among them, and a row takes the lowest line at its λ. Rows of their own all
begin at x, and some end in a poor local minimum; so those of every STRIDE-th λ are solved again from the other end, from the
target, whose divergence is none. Then the others: where the objective is small beside φ(x), by which the solver stops a row
of its own, from their line, to a tolerance nearer to their objective, else from the next smaller λ. Then every row for which
another line is lower. Only rows of one pair meet.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vaepipe.attacks.objective import Problem, Rows

ROUNDS = 3
GAIN, LEAST = 1e-2, 1e-5
"""Shares of a row's objective and of φ(x) by which, together, another line must be lower for a row to be solved again from it."""
STRIDE = 4
"""Every so many λ, in their order, are solved again from the target."""
SMALL, COARSER, FLOOR = 0.1, 2, 0.005
"""Rows with an objective below SMALL × φ(x) are solved again with COARSER × the tolerance, to which φ(x) counts FLOOR of what it
does to rows of their own."""
FINER = 0.1
"""The other rows are solved again with FINER × the tolerance."""
SHARE = 0.5
"""Share of the evaluations of a row of its own that it may take each time it is solved again."""


def lower_envelope(problem: Problem, lambdas: Tensor, own: Rows) -> Rows:
    """(L, P) rows, none above ``own``.

    Args:
        lambdas: (L,), in any order.
        own: (L, P) rows as solved on their own.
    """
    best, order = own, lambdas.argsort()
    anchor = torch.zeros_like(own.converged)
    anchor[order[::STRIDE]] = True
    for turn in range(ROUNDS):
        again = lowest_lines(lambdas, best, GAIN, LEAST)[0]
        best = best.where(*lowest_lines(lambdas, best))
        small, start = best.objective < SMALL * best.initial_divergence, best.d
        if turn == 0:
            again = anchor & (best.norm > 0)
            if problem.target is not None:
                start = (problem.target - problem.x).expand_as(start)
        if turn == 1:
            start = torch.where(small[..., None], start, start[order[(order.argsort() - 1).clamp(min=0)]])
            again = torch.where(small, ~anchor, (start != 0).any(-1))
        if turn > 1 and not again.any():
            break
        best = solve_again(problem, lambdas, best, start, again, torch.where(small, COARSER, FINER))
    return best.where(*lowest_lines(lambdas, best))


def solve_again(problem: Problem, lambdas: Tensor, rows: Rows, start: Tensor, which: Tensor, coarser: Tensor) -> Rows:
    """``rows`` (L, P), those of the mask (L, P) solved again from the distortions ``start`` (L, P, n) where that is lower."""
    row, pair = which.nonzero().unbind(1)
    if not len(row):
        return rows
    u, initial = (problem.x[pair] + start[row, pair]).clamp(0, 1), rows.initial_divergence[row, pair]
    found = problem.restart(pair, lambdas[row], u, FLOOR * initial, coarser[row, pair], SHARE)
    found.initial_divergence = initial
    found.iterations += rows.iterations[row, pair]
    again = Rows(**{name: value.clone() for name, value in vars(rows).items()})
    for name, value in vars(again).items():
        value[row, pair] = getattr(found, name)
    rows.iterations[row, pair] = found.iterations
    return rows.where(which & ~(again.objective >= rows.objective) & again.objective.isfinite(), again)


def lowest_lines(lambdas: Tensor, rows: Rows, gain: float = 0, least: float = 0) -> tuple[Tensor, Rows]:
    """(where another line is lower than the row's own (L, P), by ``gain`` of it and ``least`` of φ(x); the row on the lowest
    line, solved as its λ was)."""
    nothing = {name: torch.zeros_like(value[:1]) for name, value in vars(rows).items()}
    nothing |= {"divergence": rows.initial_divergence[:1]}  # d = 0, stationary or not
    every = {name: torch.cat([value, nothing[name]]) for name, value in vars(rows).items()}  # L + 1, P
    lines = every["divergence"] + lambdas[:, None, None] * every["norm"]  # L, L + 1, P
    objective, line = lines.nan_to_num(torch.inf).min(1)
    pair = torch.arange(line.shape[1], device=line.device).expand_as(line)
    taken = Rows(**{name: value[line, pair] for name, value in every.items()})
    taken.objective, taken.initial_divergence, taken.iterations = objective, rows.initial_divergence, rows.iterations
    own = rows.objective.nan_to_num(torch.inf)
    by = gain * own.abs().nan_to_num(0, 0, 0) + least * rows.initial_divergence.abs().nan_to_num(0, 0, 0)
    return objective < own - by, taken
