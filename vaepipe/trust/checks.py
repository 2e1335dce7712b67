"""Checks of an attack: other distortions, a longer search, a classifier, and a defence.

Other distortions should not do better than those of the attack. Each check returns arrays of
`vaepipe.trust.quantities.CHECKS`, by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vaepipe.analysis.robustness import BUDGETS
from vaepipe.trust.attacked_model import AttackedModel
from vaepipe.trust.defence import check_defence
from vaepipe.trust.masking import descend, gaussian, resize
from vaepipe.trust.polish import check_polish
from vaepipe.trust.probe import check_probe
from vaepipe.trust.purification import check_purifiers

if TYPE_CHECKING:
    from vaepipe.datasets.part import Part
    from vaepipe.models.interface import Model
    from vaepipe.study.settings import Checks

Arrays = dict[str, np.ndarray]


def run_checks(
    attacked: AttackedModel,
    checks: Checks,
    lambdas: np.ndarray,
    source: tuple[np.ndarray, np.ndarray] | None = None,
    labelled: tuple[Part, Part, np.ndarray] | None = None,
    models: Mapping[str, Model] = MappingProxyType({}),
) -> Arrays:
    """Return the arrays of all checks that are asked for.

    Args:
        checks: the section of the configuration.
        lambdas: (L,) of the attack.
        source: distortions (L, P, C, H, W) and norms (L, P) made for another model; None skips the check.
        labelled: training split, held-out split and pairs (P, 2) for the probe; needed if ``checks.probe``.
        models: those of ``checks.purifiers`` that are models, by name.
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
    if checks.purifiers:
        arrays |= check_purifiers(attacked, checks, models)
    return arrays


@torch.no_grad()
def check_noise(attacked: AttackedModel, draws: int) -> Arrays:
    """Replace each distortion by random noise of its norm; keep the best of several draws."""
    x = attacked.x.expand_as(attacked.distortion)  # L P C H W
    norm = torch.from_numpy(attacked.norm).to(x).flatten()
    tries = []
    for draw in range(draws):
        generators = (attacked.generator("noise", row, draw) for row in range(len(x)))
        directions = torch.cat([gaussian(attacked.x, generator) for generator in generators])
        d = resize(x.flatten(0, 1), directions, norm)
        tries.append(attacked.divergences(x + d.view_as(x)))
    return {"noise_divergence": _to_numpy(torch.stack(tries).amin(0))}


@torch.no_grad()
def check_transfer(attacked: AttackedModel, distortion: np.ndarray, norm: np.ndarray) -> Arrays:
    """Apply the distortions that were made for another model."""
    divergences = attacked.divergences(attacked.x + torch.from_numpy(distortion).to(attacked.x))
    return {"transfer_divergence": _to_numpy(divergences), "transfer_norm": norm}


def check_restarts(attacked: AttackedModel, count: int, steps: int) -> Arrays:
    """Descend from random points within each budget; keep the best of the starts."""
    x = attacked.x
    size = (x - attacked.target).flatten(1).norm(dim=1)
    radius = torch.cat([budget * size for budget in BUDGETS for _ in range(count)])
    generators = [
        attacked.generator("restart", number, start)
        for number in range(len(BUDGETS))
        for start in range(count)
    ]
    directions = torch.cat([gaussian(x, generator) for generator in generators])
    rows = x.repeat(len(generators), *[1] * (x.ndim - 1))  # all budgets and starts side by side
    ends, values = descend(attacked.divergence, rows, resize(rows, directions, radius), radius, steps)
    shape = (len(BUDGETS), count, len(x))
    least, best = values.view(shape).min(1)
    norms = ends.flatten(1).norm(dim=1).view(shape).gather(1, best[:, None])[:, 0]
    return {"restart_divergence": _to_numpy(least), "restart_norm": _to_numpy(norms)}


def _to_numpy(values: Tensor) -> np.ndarray:
    return values.cpu().numpy()
