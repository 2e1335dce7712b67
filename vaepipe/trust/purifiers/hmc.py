"""The defence of Kuzina et al. 2022, with the settings ``mcmc_…`` of the section ``checks``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from vaepipe.trust.defence import DefenceCheck
from vaepipe.trust.purifier import Purifier, Reconstruct

if TYPE_CHECKING:
    from vaepipe.study.settings import Checks
    from vaepipe.trust.attacked_model import AttackedModel


def build(attacked: AttackedModel, checks: Checks) -> Reconstruct:
    """Return reconstructions behind the chains; an attacker descends through the first ``adaptive_steps``."""
    check = DefenceCheck(attacked, checks)

    def reconstruct(u: Tensor, purpose: str, differentiable: bool) -> Tensor:
        steps = checks.adaptive_steps if differentiable else None
        seed = attacked.seed + (purpose == "attack")
        return check.pictures(u, purpose, seed, steps, differentiable)[0]

    return reconstruct


PURIFIER = Purifier("hmc", build)
