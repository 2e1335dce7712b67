"""What a penalised attack returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class AttackResult:
    """Attacks at L values of λ on P pairs, in the unit of the loss.

    Attributes:
        distortion: (L, P, C, H, W) d, with x + d in [0,1].
        objective: (L, P) ``divergence`` + λ ``norm``.
        own_objective: (L, P) objective of the row on its own, before other λ of its pair are looked at.
        divergence: (L, P) loss at x + d.
        norm: (L, P) ‖d‖₂ over all pixels.
        initial_divergence: (L, P) loss at d = 0.
        iterations: (L, P) evaluations of the network.
        converged: (L, P) whether the row stopped by its own rule, and not at its budget. For the rule after
            rounds of a deeper search see `vaepipe.attacks.rounds`.
        residual: (L, P) 2-norm of the projected gradient step.
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
