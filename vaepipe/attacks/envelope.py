"""The lower envelope over λ: what an attack found at one λ is a candidate at every other λ of the same pair.

The best objective is concave and non-decreasing in λ: it is the lower envelope of the lines φ(x + d) + λ‖d‖₂ over all d.
Each d that was found is one such line, d = 0 among them, so a row takes the lowest line at its λ if that is below its own,
and the solver goes on from there; until no row gains any more. At last the pair's smallest λ is solved more finely, as its
line is nearly the best at all small λ, and every row takes the lowest line. Only rows of one pair meet.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vaepipe.attacks.problem import Problem, Rows

ROUNDS = 10
GAIN = 1e-4
"""Share of the row's objective by which another line must be lower for the row to be solved again from it."""
FINER = 0.01
"""Factor of the tolerance for the smallest λ."""


def lower_envelope(problem: Problem, lambdas: Tensor, own: Rows) -> Rows:
    """(L, P) rows, none above ``own``, each solved again from the best line of its pair where that was better.

    Args:
        lambdas: (L,), in any order.
        own: (L, P) rows as solved on their own.
    """
    best = own
    for _ in range(ROUNDS):
        lower, taken = lowest_lines(lambdas, best, GAIN)
        if not lower.any():
            break
        best = best.where(lower, taken)
        solve_again(problem, lambdas, best, *lower.nonzero().unbind(1))
    pair = torch.arange(best.norm.shape[1], device=lambdas.device)
    solve_again(problem, lambdas, best, lambdas.argmin().expand_as(pair), pair, FINER)
    return best.where(*lowest_lines(lambdas, best))


def solve_again(problem: Problem, lambdas: Tensor, rows: Rows, row: Tensor, pair: Tensor, finer: float = 1) -> None:
    """Replace the given rows by what the solver reaches from where they are."""
    start = (problem.x[pair] + rows.d[row, pair]).clamp(0, 1)
    again = problem.restart(pair, lambdas[row], start, rows.initial_divergence[row, pair], finer)
    again.iterations += rows.iterations[row, pair]
    solved = again.objective.isfinite()
    for name, value in vars(rows).items():
        value[row[solved], pair[solved]] = getattr(again, name)[solved]


def lowest_lines(lambdas: Tensor, rows: Rows, gain: float = 0) -> tuple[Tensor, Rows]:
    """(where another line is lower than the row's own by ``gain`` (L, P), the row on the lowest line, solved as its λ was)."""
    nothing = {name: torch.zeros_like(value[:1]) for name, value in vars(rows).items()}
    nothing |= {"divergence": rows.initial_divergence[:1]}  # d = 0, stationary or not
    every = {name: torch.cat([value, nothing[name]]) for name, value in vars(rows).items()}  # L + 1, P
    lines = every["divergence"] + lambdas[:, None, None] * every["norm"]  # L, L + 1, P
    objective, line = lines.nan_to_num(torch.inf).min(1)
    pair = torch.arange(line.shape[1], device=line.device).expand_as(line)
    taken = Rows(**{name: value[line, pair] for name, value in every.items()})
    taken.objective, taken.initial_divergence, taken.iterations = objective, rows.initial_divergence, rows.iterations
    own = rows.objective.nan_to_num(torch.inf)
    return objective < own - gain * own.abs().nan_to_num(0, 0, 0), taken
