"""Attacks with a penalty: minimise loss + λ‖d‖₂, all λ × pairs of a model at once."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from torch import Tensor

from vaepipe.attacks.arguments import check_arguments
from vaepipe.attacks.envelope import lower_envelope
from vaepipe.attacks.errors import Refused
from vaepipe.attacks.loss import Loss, find_loss
from vaepipe.attacks.objective import Objective
from vaepipe.attacks.penalised_rows import PenalisedProblem, displaced_start
from vaepipe.attacks.resources import in_precision, within_memory
from vaepipe.attacks.result import AttackResult
from vaepipe.attacks.rounds import EFFORTS, run_rounds


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
    """Minimise loss(x + d, target) + λ‖d‖₂ over d with x + d in [0,1], for each λ and pair.

    Each row (λ, pair) is solved independently of the other rows: bit for bit the same result if the matrix
    library rounds a row identically in every place of a batch, as MKL does with MKL_CBWR=AVX2,STRICT, which
    the package sets. Then a distortion found at one λ of a pair is tried at its other λ, see
    `vaepipe.attacks.envelope`.

    Args:
        model: in eval mode, with ``posterior(x)``: a sequence of `DiagonalNormal`, one per stochastic layer;
            for the losses ``output`` and ``max-damage`` also with ``decode(*z)``, a likelihood with ``mean``
            and ``log_prob(x)``.
        x, target: (P, C, H, W) in [0,1], on the device of the model.
        lambdas: (L,) positive.
        loss: a name of `vaepipe.attacks.registry.LOSSES`, or a `vaepipe.attacks.loss.Loss`.
        seed: of the noise in losses that sample z; the noise of a pair depends on the seed and the images of
            the pair.
        draws: of z in losses that sample it.
        solver: ``lbfgs``, see `vaepipe.attacks.solvers.lbfgs`, or ``scipy``, as in the papers, see
            `vaepipe.attacks.solvers.scipy_lbfgsb`.
        max_iterations, tolerance: bound and stopping rule of each row, see
            `vaepipe.attacks.solvers.lbfgs.minimise`; the solver ``scipy`` takes those of the papers.
        batch_size: rows that the network sees at once; it affects the last bits of the numbers. If the memory
            of a GPU is too small, it is halved.
        precision: ``float32`` or ``float64``, of everything.
        envelope: False leaves every row as it is solved on its own.
        own: rows solved before with ``envelope=False``, in any blocks of λ; they are not solved again.
        effort: ``fast``, ``default`` or ``thorough``: how many rounds of a deeper search follow the envelope,
            see `vaepipe.attacks.rounds`. It changes no row that is solved on its own, and nothing with the
            solver ``scipy``.

    Raises:
        Refused: images or λ out of range, shapes that do not match, a model in training mode or with weights
            that are not finite, a posterior of the wrong type, an unknown loss or effort.
    """
    loss = find_loss(loss)
    if effort not in EFFORTS:
        raise Refused(f"effort: {effort!r} is not one of {', '.join(EFFORTS)}")
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
