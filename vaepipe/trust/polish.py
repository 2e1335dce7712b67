"""Has the attack gone as far as it can? A sample of its rows walks on."""

from __future__ import annotations

import copy

import numpy as np
import torch

from vaepipe.analysis.robustness import UNMOVED
from vaepipe.attacks.penalised_rows import PenalisedProblem
from vaepipe.attacks.rounds import search_on
from vaepipe.trust.attacked_model import AttackedModel


def check_polish(attacked: AttackedModel, lambdas: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Return ``polish_row`` (K, 2), numbers of λ and pair, and ``polish_objective`` (K, 2), before and after.

    Args:
        lambdas: (L,) of the attack.
        count: rows to take, evenly spread over those with a distortion, all λ and pairs; K is at most this.
    """
    moved = np.argwhere(attacked.norm >= UNMOVED)
    sample = moved[np.unique(np.linspace(0, len(moved) - 1, count).astype(int))] if len(moved) else moved
    row, pair = torch.from_numpy(sample).to(attacked.x.device).unbind(1)
    lambda_ = torch.from_numpy(lambdas).to(attacked.x)[row]
    problem_of = copy.copy(attacked.objective)
    problem_of.batch_size = min(problem_of.batch_size, max(1, len(sample)))  # no rows that only fill a batch
    problem = PenalisedProblem(problem_of, solver="lbfgs", max_iterations=500, tolerance=1e-4)
    d = attacked.distortion[row, pair].flatten(1)
    before = attacked.objective.value(attacked.objective.x[pair] + d, pair) + lambda_ * d.norm(dim=1)
    after = search_on(problem, pair, lambda_, d).objective if len(sample) else before
    objective = torch.stack([before, torch.fmin(before, after)], 1)
    return {"polish_row": sample, "polish_objective": objective.cpu().numpy()}
