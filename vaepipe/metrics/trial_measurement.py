"""All trial metrics of all trials."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from vaepipe.metrics.decoding import decode_samples, posterior_noise
from vaepipe.metrics.trial_metric import Pairs, Trial, find_trial_metric
from vaepipe.models.interface import Model


@torch.no_grad()
def measure_trials(
    model: Model,
    x: Tensor,
    target: Tensor,
    distortion: Tensor,
    metrics: Iterable[str],
    *,
    seed: int,
    samples: int,
) -> dict[str, np.ndarray]:
    """Return all quantities of the trial metrics, by name: (L, P, …) of the trials, (P, …) of the pairs.

    Args:
        x, target: (P, C, H, W) in [0,1].
        distortion: (L, P, C, H, W), in any precision.
        metrics: names of files in ``vaepipe/metrics/trial``.
        seed, samples: of the posterior samples. All images of a pair are decoded with the same noise, at
            every λ.
    """
    chosen = [find_trial_metric(name) for name in metrics]
    noise = posterior_noise(model, len(x), samples, seed, x.device)
    pairs = Pairs(x, target, decode_samples(model, x, noise), decode_samples(model, target, noise))
    arrays = {name: v.cpu().numpy() for metric in chosen for name, v in metric.measure_pairs(pairs).items()}
    rows: dict[str, list[np.ndarray]] = {}
    for d in distortion.to(x):  # one λ at a time, so that memory does not grow with L
        trial = Trial(pairs, d, decode_samples(model, (x + d).clamp(0, 1), noise))
        for metric in chosen:
            for name, value in metric.measure(trial).items():
                rows.setdefault(name, []).append(value.cpu().numpy())
    return arrays | {name: np.stack(parts) for name, parts in rows.items()}
