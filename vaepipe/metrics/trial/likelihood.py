"""Negative log likelihood of the target under the attacked model. Willetts et al. 2021."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.metrics.trial_metric import Trial, TrialMetric
from vaepipe.storage.quantity import Quantity

if TYPE_CHECKING:
    from torch import Tensor


def measure(trial: Trial) -> dict[str, Tensor]:
    """Return −log p(x_t|z*), z* ~ q(z|x + d), mean over samples."""
    return {"target_nll": trial.adversarial.negative_log_likelihood(trial.pairs.target)}


METRIC = TrialMetric(
    quantities=(Quantity("target_nll", "-log p(x_t|z*), z* ~ q(z|x+d)", "nats per image", "L,P"),),
    measure=measure,
)
