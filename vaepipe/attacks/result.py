"""What a penalised attack returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class AttackResult:
    """Attacks on P pairs at L values of λ. Objective and divergences have the unit of the loss.

    Attributes:
        distortion: The distortions d (L, P, C, H, W), with x + d in [0,1].
        objective: ``divergence`` + λ × ``norm`` (L, P), the adversarial loss.
        own_objective: The objective (L, P) of each row on its own, before the other λ of its pair are tried.
        divergence: The loss (L, P) at x + d.
        norm: ‖d‖₂ (L, P) over all pixels.
        initial_divergence: The loss (L, P) at d = 0.
        iterations: Number (L, P) of evaluations of the network.
        converged: Whether each row (L, P) stopped by its own rule. False means that it stopped at its budget.
            After rounds of a deeper search it means that the last round gained at most 0.3 %.
        residual: 2-norm (L, P) of the projected gradient step at the end.
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
