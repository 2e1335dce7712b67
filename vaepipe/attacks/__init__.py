"""Attacks on anything that has ``posterior(x)``: all λ × pairs of a model at once.

from vaepipe.attacks import run_attack
result = run_attack(model, x, target, lambdas)

`run_ball_attack` bounds the distortion instead of weighing it.
"""

from __future__ import annotations

import importlib

_HOME = {
    "AttackResult": "penalised",
    "run_attack": "penalised",
    "BallResult": "ball",
    "run_ball_attack": "ball",
}

__all__ = ["AttackResult", "BallResult", "run_attack", "run_ball_attack"]


def __getattr__(name: str):
    """Load a public name when it is first asked for, so that the workflow can read losses without PyTorch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"vaepipe.attacks.{_HOME[name]}"), name)
