"""Checks of the arguments of an attack. Each error is one line that names what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vaepipe.attacks.errors import Refused
from vaepipe.attacks.loss import Loss, available_losses, find_loss
from vaepipe.models.distributions import DiagonalNormal


def check_arguments(
    model: Any, x: Tensor, target: Tensor, numbers: Tensor, loss: Loss, name: str = "lambdas"
) -> None:
    """Check the arguments of an attack; ``numbers`` are λ or radii and called ``name``.

    Raises:
        Refused: images or numbers out of range, shapes that do not match, or a model that is not ready.
    """
    if x.shape != target.shape or x.ndim != 4:
        shapes = f"{tuple(x.shape)} and {tuple(target.shape)}"
        raise Refused(f"x and target: shapes {shapes}; expected one shape (P, C, H, W)")
    for which, images in (("x", x), ("target", target)):
        if not ((images >= 0) & (images <= 1)).all():
            raise Refused(f"{which}: holds values outside [0,1]")
    if numbers.ndim != 1 or not (numbers.isfinite() & (numbers > 0)).all():
        raise Refused(f"{name}: must be a one-dimensional tensor of positive numbers")
    _check_model(model, loss)


def _check_model(model: Any, loss: Loss) -> None:
    kind = type(model).__name__
    if not hasattr(model, "posterior"):
        raise Refused(f"model: {kind} has no posterior(x)")
    if loss.needs_decode and not hasattr(model, "decode"):
        raise Refused(f"model: {kind} has no decode(z), which the loss {loss.name!r} needs")
    if getattr(model, "training", False):
        raise Refused("model: is in training mode; call model.eval() first")
    if isinstance(model, torch.nn.Module):
        for name, weights in model.state_dict().items():
            if not weights.isfinite().all():
                raise Refused(f"model: {name} holds values that are not finite")


def check_posterior(layers: Any, count: int, loss: Loss) -> None:
    """Check that ``layers`` is a sequence of `DiagonalNormal`, one of ``count`` rows per layer.

    Raises:
        Refused: something else, values that are not finite, or no width where the loss needs one.
    """
    where = "model.posterior(x)"
    expected = "expected a sequence of vaepipe.models.distributions.DiagonalNormal, one per layer"
    if isinstance(layers, (Tensor, DiagonalNormal)) or not isinstance(layers, Sequence) or not layers:
        raise Refused(f"{where}: gave {type(layers).__name__}; {expected}")
    for q in layers:
        if not isinstance(q, DiagonalNormal):
            raise Refused(f"{where}: gave a sequence of {type(q).__name__}; {expected}")
        mean, log_std = tuple(q.mean.shape), tuple(q.log_std.shape)
        if len(mean) != 2 or mean != log_std or mean[0] != count:
            raise Refused(f"{where}: mean and log_std of shapes {mean} and {log_std}; expected ({count}, D)")
        if not q.mean.isfinite().all() or not (q.log_std < torch.inf).all():
            raise Refused(f"{where}: holds values that are not finite")
        if loss.needs_width and q.log_std.isneginf().any():
            others = ", ".join(name for name in available_losses() if not find_loss(name).needs_width)
            reason = "is infinite for a posterior without width"
            raise Refused(f"loss: {loss.name!r} {reason}; expected one of {others}")
