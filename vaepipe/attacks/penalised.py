"""Attacks that weigh the distortion: loss + λ‖d‖₂, all λ × pairs of a model at once."""

from __future__ import annotations

from dataclasses import dataclass, fields

from torch import Tensor

from vaepipe.attacks.arguments import check_arguments
from vaepipe.attacks.envelope import lower_envelope
from vaepipe.attacks.loss import Loss, find_loss
from vaepipe.attacks.objective import Problem, in_precision, within_memory


@dataclass
class AttackResult:
    """Attacks at L values of λ on P pairs.

    ``distortion`` (L, P, C, H, W): d, with x + d in [0,1]. All others (L, P): ``objective`` = ``divergence`` + λ ‖d‖₂;
    ``own_objective``: what the row reached by itself, before other λ of its pair were looked at; ``norm`` ‖d‖₂ over all
    pixels; ``initial_divergence`` at d = 0; ``iterations``: evaluations of the network; ``converged``: the row stopped by its
    own rule; ``residual``: norm of the projected gradient step. Nats, but for losses that are distances.
    """

    distortion: Tensor
    objective: Tensor
    own_objective: Tensor
    divergence: Tensor
    norm: Tensor
    initial_divergence: Tensor
    iterations: Tensor
    converged: Tensor
    residual: Tensor


def run_attack(
    model,
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
) -> AttackResult:
    """Minimise loss(x + d, target) + λ‖d‖₂ over d with x + d in [0,1], for each λ and pair.

    Each row (λ, pair) is solved on its own: its result is the same alone or in any company, bit for bit where the matrix
    library rounds a row alike in every place (MKL does with MKL_CBWR=AVX2,STRICT, which `vaepipe.compute.rounding` sets). Then a
    distortion found at one λ of a pair is tried at its others, see `vaepipe.attacks.envelope`.

    Args:
        model: in eval mode, with ``posterior(x)``: a sequence of `DiagonalNormal`, one per stochastic layer; for the losses
            ``output`` and ``max-damage`` also with ``decode(*z)``, a likelihood with ``mean`` and ``log_prob(x)``.
        x, target: (P, C, H, W) in [0,1], on the model's device.
        lambdas: (L,) positive.
        loss: a name of `vaepipe.attacks.registry.LOSSES`, or a loss of your own.
        seed: of the noise behind losses that sample z; each pair's noise comes from it and from the pair's images.
        draws: of z in losses that sample it.
        solver: ``lbfgs``, see `vaepipe.attacks.solvers.lbfgs`, or ``scipy``, the papers' own, see `vaepipe.attacks.solvers.scipy_lbfgsb`.
        max_iterations, tolerance: bound and stopping rule of each row, see `vaepipe.attacks.solvers.lbfgs.minimise`; of ``scipy``
            they are the papers'.
        batch_size: rows that the network sees at once; part of what decides the last bits of the numbers. Where a GPU's
            memory does not hold them, it is halved.
        precision: ``float32`` or ``float64``, of everything.
        envelope: False leaves every row as it was solved on its own.
        own: rows solved before with ``envelope=False``, in any blocks of λ; they are taken as they are.

    Raises:
        ValueError: images or λ out of range, shapes that do not match, a model in training mode or with weights that are not
            finite, a posterior of the wrong type, an unknown loss.
    """
    loss = find_loss(loss)
    check_arguments(model, x, target, lambdas, loss)
    model, x, target = in_precision(model, x, target, precision)
    lambdas = lambdas.to(x)

    def solved(batch_size: int) -> AttackResult:
        problem = Problem(model, x, target, loss, seed, draws, solver, max_iterations, tolerance, batch_size)
        rows = problem.solve(lambdas) if own is None else problem.rows(own)
        found = lower_envelope(problem, lambdas, rows) if envelope else rows
        return AttackResult(
            distortion=found.d.unflatten(-1, x.shape[1:]),
            own_objective=rows.objective,
            **{f.name: getattr(found, f.name) for f in fields(found) if f.name != "d"},
        )

    return within_memory(solved, batch_size)
