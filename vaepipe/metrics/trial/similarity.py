"""Structural similarity (MS-SSIM) of inputs and of reconstructions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.metrics.trial_metric import Trial, TrialMetric
from vaepipe.storage.quantity import Quantity

if TYPE_CHECKING:
    from torch import Tensor


def measure(trial: Trial) -> dict[str, Tensor]:
    """Return MS-SSIM of x and x + d, and of the reconstructions of x + d and of x or x_t, first samples."""
    import torch

    from vaepipe.metrics.ms_ssim import ms_ssim

    pairs, picture = trial.pairs, trial.adversarial.first_picture
    clean = torch.cat([pairs.x, pairs.original.first_picture, pairs.of_target.first_picture])
    adversarial = torch.cat([pairs.x + trial.distortion, picture, picture])
    names = (quantity.name for quantity in METRIC.quantities)
    return dict(zip(names, ms_ssim(clean, adversarial).unflatten(0, (3, -1)), strict=True))


METRIC = TrialMetric(
    quantities=(
        Quantity("input_similarity", "MS-SSIM of x and x+d", axes="L,P"),
        Quantity("reconstruction_similarity", "MS-SSIM of the reconstructions of x and x+d", axes="L,P"),
        Quantity("target_similarity", "MS-SSIM of the reconstructions of x_t and x+d", axes="L,P"),
    ),
    measure=measure,
    in_ball_table=False,
)
