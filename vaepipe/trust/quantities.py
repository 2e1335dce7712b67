"""The arrays that checks of an attack give. Imports without torch."""

from __future__ import annotations

from vaepipe.storage.quantity import Quantity

LOSS_UNIT = "unit of the loss"

STRONGEST: tuple[Quantity, ...] = (
    Quantity("budgets", "bounds on the 2-norm of the distortion, as shares of ||x - x_t||", axes="B"),
    Quantity(
        "row",
        "number of the lambda of each pair's strongest row within the budget, -1 if there is none",
        axes="B,P",
    ),
)
"""The strongest rows within each budget."""

CHECKS: tuple[Quantity, ...] = (
    Quantity(
        "noise_divergence", "least divergence over draws of noise with the norm of the row", LOSS_UNIT, "L,P"
    ),
    Quantity(
        "transfer_divergence",
        "divergence of this model at the distortion made for the source model",
        LOSS_UNIT,
        "L,P",
    ),
    Quantity("transfer_norm", "2-norm of that distortion", axes="L,P"),
    Quantity(
        "restart_divergence",
        "least divergence by projected descent from random starts within each budget",
        LOSS_UNIT,
        "B,P",
    ),
    Quantity("restart_norm", "2-norm of that distortion", axes="B,P"),
    Quantity("polish_row", "numbers of lambda and pair of the rows that were searched on", axes="K,2"),
    Quantity(
        "polish_objective", "objective of these rows before and after a longer search", LOSS_UNIT, "K,2"
    ),
    Quantity("probe_accuracy", "accuracy of the linear probe on the held-out split"),
    Quantity("probe_class", "class that the probe gives to x+d", axes="L,P"),
    Quantity("probe_label", "labels of x and x_t", axes="P,2"),
    Quantity("defended_ratio", "(A - T)/(O - T) of that row behind the defence", axes="B,P"),
    Quantity(
        "adaptive_ratio",
        "the same for a distortion of at most the norm of that row, made to pass the defence",
        axes="B,P",
    ),
    Quantity("acceptance", "mean acceptance rate of the chains of the defence"),
    Quantity("purifier", "names of the purifiers, first none", axes="K"),
    Quantity("purified_ratio", "(A - T)/(O - T) of that row behind each purifier", axes="K,B,P"),
    Quantity(
        "purified_adaptive_ratio",
        "the same for a distortion of at most the norm of that row, made to pass the purifier",
        axes="K,B,P",
    ),
)
"""An array is written only if its check is made."""
