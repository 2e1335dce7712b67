"""Checks of an attack: other distortions, a longer search, a classifier, and a defence.

Other distortions should not do better than those of the attack. Each check returns arrays of
`vaepipe.trust.quantities.CHECKS`, by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vaepipe.analysis.robustness import BUDGETS
from vaepipe.trust.attacked_model import AttackedModel
from vaepipe.trust.defence import check_defence
from vaepipe.trust.masking import descend, noise
from vaepipe.trust.polish import check_polish
from vaepipe.trust.probe import check_probe

if TYPE_CHECKING:
    from vaepipe.datasets.part import Part
    from vaepipe.study.settings import Checks

Arrays = dict[str, np.ndarray]


def run_checks(
    attacked: AttackedModel,
    checks: Checks,
    lambdas: np.ndarray,
    source: tuple[np.ndarray, np.ndarray] | None = None,
    labelled: tuple[Part, Part, np.ndarray] | None = None,
) -> Arrays:
    """Return the arrays of all checks that are asked for.

    Args:
        checks: the section of the configuration.
        lambdas: (L,) of the attack.
        source: distortions (L, P, C, H, W) and norms (L, P) made for another model; None skips the check.
        labelled: training split, held-out split and pairs (P, 2) for the probe; needed if ``checks.probe``.
    """
    arrays: Arrays = {}
    if checks.noise:
        arrays |= check_noise(attacked, checks.noise)
    if source is not None:
        arrays |= check_transfer(attacked, *source)
    if checks.restarts:
        arrays |= check_restarts(attacked, checks.restarts, checks.restart_steps)
    if checks.polish:
        arrays |= check_polish(attacked, lambdas, checks.polish)
    if checks.probe and labelled is not None:
        arrays |= check_probe(attacked, *labelled, images=checks.probe_images)
    if checks.mcmc_steps:
        arrays |= check_defence(attacked, checks)
    return arrays


@torch.no_grad()
def check_noise(attacked: AttackedModel, draws: int) -> Arrays:
    """Replace each distortion by random noise of its norm; keep the best of several draws."""
    x, norms = attacked.x, torch.from_numpy(attacked.norm).to(attacked.x)
    least = []
    for row, norm in enumerate(norms):
        generators = (attacked.generator("noise", row, draw) for draw in range(draws))
        tries = [attacked.divergence(x + noise(x, norm, generator)) for generator in generators]
        least.append(torch.stack(tries).amin(0))
    return {"noise_divergence": _stack(least)}


@torch.no_grad()
def check_transfer(attacked: AttackedModel, distortion: np.ndarray, norm: np.ndarray) -> Arrays:
    """Apply the distortions that were made for another model."""
    x = attacked.x
    divergences = [attacked.divergence(x + torch.from_numpy(d).to(x)) for d in distortion]
    return {"transfer_divergence": _stack(divergences), "transfer_norm": norm}


def check_restarts(attacked: AttackedModel, count: int, steps: int) -> Arrays:
    """Descend from random points within each budget; keep the best of the starts."""
    x = attacked.x
    divergences, norms = [], []
    for number, budget in enumerate(BUDGETS):
        radius = budget * (x - attacked.target).flatten(1).norm(dim=1)
        generators = (attacked.generator("restart", number, start) for start in range(count))
        starts = [noise(x, radius, generator) for generator in generators]
        ends = [descend(attacked.divergence, x, start, radius, steps) for start in starts]
        least, best = torch.stack([value for _, value in ends]).min(0)
        divergences.append(least)
        lengths = torch.stack([d.flatten(1).norm(dim=1) for d, _ in ends])
        norms.append(lengths.gather(0, best[None])[0])
    return {"restart_divergence": _stack(divergences), "restart_norm": _stack(norms)}


def _stack(rows: Iterable[Tensor]) -> np.ndarray:
    return torch.stack(list(rows)).cpu().numpy()
