"""The lower envelope over λ: what an attack found at one λ is a candidate at every other λ of the same pair.

The best objective is concave and non-decreasing in λ: it is the lower envelope of the lines φ(x + d) + λ‖d‖₂ over all d.
Each d that was found is one such line, d = 0 among them, so a row takes the lowest line at its λ if that is below its own,
and the solver goes on from there; until no row gains any more. Only rows of one pair meet.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vaepipe.attacks.problem import Problem, Rows

ROUNDS = 10
GAIN = 1e-4
"""Share of the row's objective by which another line must be lower to be taken."""


def lower_envelope(problem: Problem, lambdas: Tensor, own: Rows) -> Rows:
    """(L, P) rows, none above ``own``, each solved again from the best line of its pair where that was better.

    Args:
        lambdas: (L,), in any order.
        own: (L, P) rows as solved on their own.
    """
    best = own
    for _ in range(ROUNDS):
        better, taken = lowest_lines(lambdas, best)
        if not better.any():
            break
        row, p = better.nonzero().unbind(1)
        again = problem.restart(p, lambdas[row], (problem.x[p] + taken.d[row, p]).clamp(0, 1), best.initial_divergence[row, p])
        again.iterations += best.iterations[row, p]
        best = best.where(better, taken)
        solved = again.objective.isfinite()
        for name, value in vars(best).items():
            value[row[solved], p[solved]] = getattr(again, name)[solved]
    return best


def lowest_lines(lambdas: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
    """(where another line is lower than the row's own (L, P), the row on the lowest line)."""
    norm = torch.cat([rows.norm, torch.zeros_like(rows.norm[:1])])  # L + 1, P: the last line is d = 0
    divergence = torch.cat([rows.divergence, rows.initial_divergence[:1]])
    lines = (divergence + lambdas[:, None, None] * norm).nan_to_num(torch.inf)  # L, L + 1, P
    objective, line = lines.min(1)
    d = torch.cat([rows.d, torch.zeros_like(rows.d[:1])])
    pair = torch.arange(d.shape[1], device=d.device).expand_as(line)
    taken = Rows(
        d[line, pair],
        objective,
        divergence[line, pair],
        norm[line, pair],
        rows.initial_divergence,
        rows.iterations,
        torch.zeros_like(rows.converged),
        torch.full_like(rows.residual, torch.nan),
    )
    own = rows.objective.nan_to_num(torch.inf)
    return objective < own - GAIN * own.abs().nan_to_num(0, 0, 0), taken
