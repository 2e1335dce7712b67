"""The rows (λ, pair) of a penalised attack: their starts and solutions, independent of each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from vaepipe.attacks.objective import Objective, pair_noise
from vaepipe.attacks.result import AttackResult
from vaepipe.attacks.solvers import lbfgs, momentum, restoration, scipy_lbfgsb
from vaepipe.attacks.solvers.solution import Solution

SOLVERS = {"lbfgs": lbfgs.minimise, "scipy": scipy_lbfgsb.minimise}
START = 0.5
"""‖d‖₂ at which rows start if the loss has no gradient at d = 0."""

MOST_ENTRIES, MOST_ON_GPU = 2**25, 2**30
"""Entries of the Jacobians of a batch, on a CPU and on a GPU. A batch is made smaller for them."""


@dataclass
class Rows:
    """Rows of any leading shape: ``d`` (…, n); the other arrays (…) as in `vaepipe.attacks.AttackResult`."""

    d: Tensor
    objective: Tensor
    divergence: Tensor
    norm: Tensor
    initial_divergence: Tensor
    iterations: Tensor
    converged: Tensor
    residual: Tensor

    def where(self, take: Tensor, other: Rows) -> Rows:
        """Return the rows of ``other`` where ``take`` (…) is true, and these elsewhere."""
        pick = {
            name: torch.where(take, getattr(other, name), value)
            for name, value in vars(self).items()
            if name != "d"
        }
        return Rows(torch.where(take[..., None], other.d, self.d), **pick)


class PenalisedProblem:
    """Minimise φ(x + d) + λ‖d‖₂ for many rows (λ, pair).

    Args:
        solver: a key of `SOLVERS`.
        max_iterations, tolerance: of each row.
        start: (P, n) inputs where the rows of each pair start; None is x.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        solver: str,
        max_iterations: int,
        tolerance: float,
        start: Tensor | None = None,
    ):
        self.objective, self.x, self.target = objective, objective.x, objective.target
        self.minimise, self.start = SOLVERS[solver], start
        self.max_iterations, self.tolerance = max_iterations, tolerance
        self.batch_sizes: list[int] = []
        if solver != "scipy":
            self.batch_sizes = objective.sizes_with_identical_rounding(
                objective.value_and_grad, objective.batch_size
            )

    def solve(self, lambdas: Tensor) -> Rows:
        """Return (L, P) rows, each from its own start."""
        L, P = len(lambdas), len(self.x)
        pair = torch.arange(P, device=self.x.device).repeat(L)
        start = None if self.start is None else self.start[pair]
        rows = self.restart(pair, lambdas.repeat_interleave(P), start)
        return Rows(**{name: value.unflatten(0, (L, P)) for name, value in vars(rows).items()})

    def restart(
        self,
        pair: Tensor,
        lambda_: Tensor,
        start: Tensor | None,
        initial: Tensor | None = None,
        tolerance_factor: float | Tensor = 1,
        share: float = 1,
    ) -> Rows:
        """Return (R,) rows.

        Args:
            pair, lambda_: (R,).
            start: (R, n) inputs; None is x.
            initial: (R,) φ(x), if known.
            tolerance_factor: one for all rows, or (R,).
            share: of the evaluations that a row may take.
        """
        objective, x = self.objective, self.x[pair]
        if start is not None and initial is None:
            initial = objective.initial(pair)
        solution = self.minimise(
            lambda u, row: objective.value_and_grad(u, pair[row]),
            x,
            lambda_,
            start=start,
            initial=initial,
            slots=objective.batch_size,
            sizes=self.batch_sizes,
            max_iterations=max(1, int(share * self.max_iterations)),
            tolerance=self.tolerance * tolerance_factor,
        )
        return _rows(solution, x)

    def walk(self, pair: Tensor, lambda_: Tensor, start: Tensor, steps: int, boldness: float) -> Rows:
        """Return (R,) rows lowered from the inputs ``start`` (R, n) by `vaepipe.attacks.solvers.momentum`.

        Args:
            pair, lambda_: (R,).
            steps, boldness: as `vaepipe.attacks.solvers.momentum.descend`.
        """
        objective, x = self.objective, self.x[pair]
        solution = momentum.descend(
            lambda u, row: objective.value_and_grad(u, pair[row]),
            x,
            lambda_,
            start,
            slots=objective.batch_size,
            sizes=self.batch_sizes,
            steps=steps,
            boldness=boldness,
        )
        return _rows(solution, x)

    def restoration_steps(self, evaluations: float) -> int:
        """Return how many steps of `restore` take so many evaluations; 0 if the loss has no residuals."""
        m = self.objective.residual_count
        return int(2 * evaluations / (m + 1 + restoration.RESTORE)) if m else 0

    @cached_property
    def jacobian_sizes(self) -> list[int]:
        """The batch sizes of `restore`, in increasing order."""
        objective, slots = self.objective, self.objective.batch_size
        entries = objective.residual_count * self.x.shape[1]
        most = MOST_ON_GPU if self.x.is_cuda else MOST_ENTRIES
        while slots > 1 and slots * entries > most:
            slots //= 2
        return [*objective.sizes_with_identical_rounding(objective.residuals_and_jacobian, slots), slots]

    def restore(
        self, pair: Tensor, lambda_: Tensor, start: Tensor, steps: int, first: float
    ) -> tuple[Tensor, int]:
        """Lower rows from the inputs ``start`` (R, n) by `vaepipe.attacks.solvers.restoration`.

        Args:
            pair, lambda_: (R,).
            steps, first: as `vaepipe.attacks.solvers.restoration.descend`.

        Returns:
            Inputs (R, n), and the evaluations that each took: a forward and a backward pass are one.
        """
        objective, sizes = self.objective, self.jacobian_sizes
        u = restoration.descend(
            lambda u, row: objective.residuals_at(u, pair[row]),
            lambda u, row: objective.residuals_and_jacobian(u, pair[row]),
            self.x[pair],
            lambda_,
            start,
            slots=sizes[-1],
            sizes=sizes[:-1],
            steps=steps,
            first=first,
        )
        return u, steps * (objective.residual_count + 1 + restoration.RESTORE) // 2 + 1

    def rows_of(self, result: AttackResult) -> Rows:
        """Return the rows of a result that was made with ``envelope=False``."""
        names = [name for name in Rows.__dataclass_fields__ if name != "d"]
        columns = {name: getattr(result, name).to(self.x.device) for name in names}
        return Rows(result.distortion.to(self.x).flatten(2), **columns)


def _rows(solution: Solution, x: Tensor) -> Rows:
    others = {name: value for name, value in vars(solution).items() if name != "u"}
    return Rows(solution.u - x, **others)


def displaced_start(x: Tensor, target: Tensor, seed: int) -> Tensor:
    """Return (P, n) inputs at distance `START` from x in a random direction, cut to the box.

    A loss without target is stationary at x, so that no descent can start there.
    """
    flat = x.flatten(1)
    direction = pair_noise(x, target, 1, flat.shape[1], seed + 1)[0]
    return (flat + START * direction / direction.norm(dim=1, keepdim=True)).clamp(0, 1)
