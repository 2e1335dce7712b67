"""The reconstructions as pictures, for figures and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.metrics.trial_metric import Pairs, Trial, TrialMetric
from vaepipe.storage.quantity import Quantity

if TYPE_CHECKING:
    from torch import Tensor


def measure(trial: Trial) -> dict[str, Tensor]:
    """Return the reconstruction of x + d, first sample."""
    return {"adversarial_reconstruction": to_bytes(trial.adversarial.first_picture)}


def measure_pairs(pairs: Pairs) -> dict[str, Tensor]:
    """Return the reconstructions of x and x_t, first samples."""
    return {
        "reconstruction": to_bytes(pairs.original.first_picture),
        "target_reconstruction": to_bytes(pairs.of_target.first_picture),
    }


def to_bytes(pictures: Tensor) -> Tensor:
    """Return pictures in [0,1] as uint8, 0..255."""
    import torch

    return (pictures * 255).round().clip(0, 255).to(torch.uint8)


METRIC = TrialMetric(
    quantities=(
        Quantity("reconstruction", "reconstruction of x, first sample, 0..255", axes="P,C,H,W"),
        Quantity("target_reconstruction", "reconstruction of x_t, first sample, 0..255", axes="P,C,H,W"),
        Quantity(
            "adversarial_reconstruction", "reconstruction of x+d, first sample, 0..255", axes="L,P,C,H,W"
        ),
    ),
    measure=measure,
    measure_pairs=measure_pairs,
)
