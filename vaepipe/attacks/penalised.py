"""Attacks with a penalty: minimise loss + λ‖d‖₂, all λ × pairs of a model at once."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from torch import Tensor

from vaepipe.attacks.arguments import check_arguments
from vaepipe.attacks.envelope import lower_envelope
from vaepipe.attacks.loss import Loss, find_loss
from vaepipe.attacks.objective import Objective
from vaepipe.attacks.penalised_rows import PenalisedProblem, displaced_start
from vaepipe.attacks.resources import in_precision, within_memory
from vaepipe.attacks.result import AttackResult
from vaepipe.attacks.rounds import EFFORTS, check_effort, run_rounds


def run_attack(
    model: Any,
    x: Tensor,
    target: Tensor,
    lambdas: Tensor,
    loss: str | Loss = "latent-kl",
    *,
    seed: int = 0,
    draws: int = 4,
    solver: str = "lbfgs",
    max_iterations: int = 500,
    tolerance: float = 1e-4,
    batch_size: int = 64,
    precision: str = "float32",
    envelope: bool = True,
    own: AttackResult | None = None,
    effort: str = "default",
) -> AttackResult:
    """Attack P pairs of images at L values of λ: minimise loss(x + d, target) + λ‖d‖₂ with x + d in [0,1].

    One pair at one λ is a row. Each row is first solved on its own. Its result does not depend on the other
    rows: it has the same bits if the matrix library rounds a row identically in every place of a batch, as
    MKL does with MKL_CBWR=AVX2,STRICT, which the package sets. Then each distortion is tried at the other λ
    of its pair (`vaepipe.attacks.envelope`).

    Args:
        model: A model in eval mode. ``posterior(x)`` returns a sequence of `DiagonalNormal`, one for each
            stochastic layer. The losses ``output`` and ``max-damage`` also need ``decode(*z)``, whose result
            has ``mean`` and ``log_prob(x)``.
        x: Images (P, C, H, W) in [0,1], on the device of the model.
        target: Their targets, of the same shape.
        lambdas: Positive weights (L,) of the penalty.
        loss: A name of `vaepipe.attacks.registry.LOSSES`, or a `vaepipe.attacks.loss.Loss`.
        seed: Seed of the noise in losses that sample z. The noise of a pair depends on the seed and on the
            images of the pair.
        draws: Number of samples of z in these losses.
        solver: ``lbfgs``, the batched solver (`vaepipe.attacks.solvers.lbfgs`), or ``scipy``, that of
            published attack code (`vaepipe.attacks.solvers.scipy_lbfgsb`).
        max_iterations: Most evaluations of the network for a row. ``scipy`` has its own bound.
        tolerance: A row stops when five accepted steps lower its objective by at most tolerance ×
            (objective + loss at d = 0 / 10). ``scipy`` has its own rule.
        batch_size: Rows that the network sees at once. It affects the last bits of the numbers. It is halved
            where the memory of a GPU is too small.
        precision: ``float32`` or ``float64``, for the images, the network and the solver.
        envelope: False returns every row as it is solved on its own, without the envelope and the rounds.
        own: A result that was made with ``envelope=False``, from any blocks of λ. Its rows are not solved on
            their own again.
        effort: How long to search after the envelope: ``fast``, ``default`` or ``thorough``
            (`vaepipe.attacks.rounds`). It has no effect with the solver ``scipy``.

    Returns:
        The distortions, and what the attack reached with them.

    Raises:
        Refused: Images or λ are out of range, shapes do not match, the model is in training mode or has
            weights that are not finite, its posterior has the wrong type, or the loss or effort is unknown.
    """
    loss = find_loss(loss)
    check_effort(effort)
    check_arguments(model, x, target, lambdas, loss)
    model, x, target = in_precision(model, x, target, precision)
    lambdas = lambdas.to(x)
    start = None if loss.has_target else displaced_start(x, target, seed)

    def solve(batch_size: int) -> AttackResult:
        objective = Objective(model, x, target, loss, seed=seed, draws=draws, batch_size=batch_size)
        problem = PenalisedProblem(
            objective, solver=solver, max_iterations=max_iterations, tolerance=tolerance, start=start
        )
        rows = problem.solve(lambdas) if own is None else problem.rows_of(own)
        best = lower_envelope(problem, lambdas, rows) if envelope else rows
        if envelope and solver == "lbfgs":
            best = run_rounds(problem, lambdas, best, EFFORTS[effort])
        return AttackResult(
            distortion=best.d.unflatten(-1, x.shape[1:]),
            own_objective=rows.objective,
            **{field.name: getattr(best, field.name) for field in fields(best) if field.name != "d"},
        )

    return within_memory(solve, batch_size)
