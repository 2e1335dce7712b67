"""Peak signal-to-noise ratio (PSNR) of inputs and of reconstructions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.metrics.trial_metric import Trial, TrialMetric
from vaepipe.storage.quantity import Quantity

if TYPE_CHECKING:
    from torch import Tensor


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Return −10 log₁₀ of the mean squared difference (B,) of images (B, C, H, W) in [0,1]; ∞ if equal."""
    return -10 * (a - b).square().flatten(1).mean(1).log10()


def measure(trial: Trial) -> dict[str, Tensor]:
    """Return PSNR of x and x + d, and of the reconstructions of x + d and of x or x_t, first samples."""
    pairs, picture = trial.pairs, trial.adversarial.first_picture
    return {
        "input_psnr": psnr(pairs.x, pairs.x + trial.distortion),
        "reconstruction_psnr": psnr(pairs.original.first_picture, picture),
        "target_psnr": psnr(pairs.of_target.first_picture, picture),
    }


METRIC = TrialMetric(
    quantities=(
        Quantity("input_psnr", "PSNR of x and x+d; inf without distortion", "dB", "L,P"),
        Quantity("reconstruction_psnr", "PSNR of the reconstructions of x and x+d", "dB", "L,P"),
        Quantity("target_psnr", "PSNR of the reconstructions of x_t and x+d", "dB", "L,P"),
    ),
    measure=measure,
)
