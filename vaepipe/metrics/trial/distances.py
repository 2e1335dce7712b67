"""Distances of reconstructions from the target. Gondim-Ribeiro et al. 2018."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.metrics.trial_metric import Pairs, Trial, TrialMetric
from vaepipe.storage.quantity import Quantity

if TYPE_CHECKING:
    from torch import Tensor


def measure(trial: Trial) -> dict[str, Tensor]:
    """Return A = ‖rec(x + d) − x_t‖, mean over samples of 2-norms over all pixels."""
    return {"adversarial_distance": trial.adversarial.distance(trial.pairs.target)}


def measure_pairs(pairs: Pairs) -> dict[str, Tensor]:
    """Return T = ‖rec(x_t) − x_t‖, O = ‖rec(x) − x_t‖ and ‖x − x_t‖."""
    return {
        "target_distance": pairs.of_target.distance(pairs.target),
        "original_distance": pairs.original.distance(pairs.target),
        "input_distance": (pairs.x - pairs.target).flatten(1).norm(dim=1),
    }


METRIC = TrialMetric(
    quantities=(
        Quantity("adversarial_distance", "A: mean over samples of ||rec(x+d) - x_t||", axes="L,P"),
        Quantity("target_distance", "T: mean over samples of ||rec(x_t) - x_t||", axes="P"),
        Quantity("original_distance", "O: mean over samples of ||rec(x) - x_t||", axes="P"),
        Quantity("input_distance", "||x - x_t||", axes="P"),
    ),
    measure=measure,
    measure_pairs=measure_pairs,
)
