"""Attacks on any model that has ``posterior(x)``, at all λ × pairs at once.

from vaepipe.attacks import run_attack
result = run_attack(model, x, target, lambdas)

`run_ball_attack` bounds the distortion instead of penalising it.
"""

from __future__ import annotations

import importlib

_MODULES = {
    "AttackResult": "result",
    "run_attack": "penalised",
    "BallResult": "ball",
    "run_ball_attack": "ball",
}

__all__ = ["AttackResult", "BallResult", "run_attack", "run_ball_attack"]


def __getattr__(name: str) -> object:
    """Load a public name at first use, so that the workflow can read the losses without PyTorch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"vaepipe.attacks.{_MODULES[name]}"), name)
