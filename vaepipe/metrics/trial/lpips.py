"""Learned perceptual distance (LPIPS, VGG-16) of inputs and of reconstructions. Zhang et al. 2018.

It is computed where the weights lie in PyTorch's cache already, and left empty elsewhere. Nothing is
downloaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.metrics.trial_metric import Trial, TrialMetric
from vaepipe.storage.quantity import Quantity

if TYPE_CHECKING:
    from torch import Tensor


def measure(trial: Trial) -> dict[str, Tensor]:
    """Return LPIPS of x and x + d, and of the reconstructions of x + d and of x or x_t, first samples."""
    from vaepipe.metrics.perceptual import lpips

    pairs, picture = trial.pairs, trial.adversarial.first_picture
    return {
        "input_lpips": lpips(pairs.x, pairs.x + trial.distortion),
        "reconstruction_lpips": lpips(pairs.original.first_picture, picture),
        "target_lpips": lpips(pairs.of_target.first_picture, picture),
    }


WHERE = "empty where its weights are not in PyTorch's cache or images have less than 16 pixels"

METRIC = TrialMetric(
    quantities=(
        Quantity("input_lpips", f"LPIPS (VGG-16) of x and x+d; {WHERE}", axes="L,P"),
        Quantity("reconstruction_lpips", f"LPIPS of the reconstructions of x and x+d; {WHERE}", axes="L,P"),
        Quantity("target_lpips", f"LPIPS of the reconstructions of x_t and x+d; {WHERE}", axes="L,P"),
    ),
    measure=measure,
    in_ball_table=False,
)
