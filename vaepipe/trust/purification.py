"""Does an attack survive what a defender does to its inputs, and can it be made to?"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vaepipe.analysis import robustness
from vaepipe.trust.attacked_model import AttackedModel
from vaepipe.trust.masking import descend
from vaepipe.trust.purifier import Purifier, Reconstruct, before_model, find_purifier

if TYPE_CHECKING:
    from vaepipe.models.interface import Model
    from vaepipe.study.settings import Checks

NONE = Purifier("none", before_model(lambda model, x: x))
"""No purifier, measured in the same way, to compare with."""


def check_purifiers(
    attacked: AttackedModel, checks: Checks, models: Mapping[str, Model] = MappingProxyType({})
) -> dict[str, np.ndarray]:
    """Pass the strongest rows, and distortions made for each purifier, through the purifiers.

    Args:
        models: those of ``checks.purifiers`` that are models, by name.

    Returns:
        ``purifier`` (K,) names, the first one `NONE`; ``purified_ratio`` and ``purified_adaptive_ratio``
        (K, B, P): (A − T)/(O − T), where A, T and O are measured behind the purifier.
    """
    purifiers = [NONE, *(find_purifier(name, models) for name in checks.purifiers)]
    ratios = [_ratios(attacked, purifier.build(attacked, checks), checks) for purifier in purifiers]
    unaware, adaptive = (np.stack(parts) for parts in zip(*ratios))
    names = np.array([purifier.name for purifier in purifiers], dtype="S")
    return {"purifier": names, "purified_ratio": unaware, "purified_adaptive_ratio": adaptive}


def _ratios(
    attacked: AttackedModel, reconstruct: Reconstruct, checks: Checks
) -> tuple[np.ndarray, np.ndarray]:
    """Return (B, P) ratios of the strongest rows within each budget, and of rows made for the purifier.

    The latter descend on A from the former, within their norms; through a purifier without gradient straight
    through.
    """

    @torch.no_grad()
    def distance(u: Tensor) -> np.ndarray:
        return norms(reconstruct(u, "evaluate", False)).cpu().numpy()

    def norms(pictures: Tensor) -> Tensor:
        return (pictures - attacked.target).flatten(1).norm(dim=1)

    target, original = distance(attacked.target), distance(attacked.x)
    rows: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for budget in range(len(attacked.row)):
        d, radius = attacked.strongest(budget)
        adapted = descend(
            lambda u: norms(reconstruct(u, "attack", True)), attacked.x, d, radius, checks.adaptive_iterations
        )[0]
        for part, distortion in zip(rows, (d, adapted)):
            part.append(robustness.ratio(distance(attacked.x + distortion), target, original))
    return np.stack(rows[0]), np.stack(rows[1])
