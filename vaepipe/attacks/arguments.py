"""What `run_attack` refuses, each in one line that names what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vaepipe.attacks.errors import Refused
from vaepipe.attacks.loss import Loss, available_losses, find_loss
from vaepipe.models.distributions import DiagonalNormal


def check_arguments(model, x: Tensor, target: Tensor, weights: Tensor, loss: Loss, name: str = "lambdas") -> None:
    """Raises Refused: images or ``weights`` (called ``name``) out of range, shapes that do not match, a model that is not
    ready, an unknown loss."""
    if x.shape != target.shape or x.ndim != 4:
        raise Refused(f"x and target: shapes {tuple(x.shape)} and {tuple(target.shape)}; expected one shape (P, C, H, W)")
    for which, images in (("x", x), ("target", target)):
        if not ((images >= 0) & (images <= 1)).all():
            raise Refused(f"{which}: holds values outside [0,1]")
    if weights.ndim != 1 or not (weights.isfinite() & (weights > 0)).all():
        raise Refused(f"{name}: must be a one-dimensional tensor of positive numbers")
    if not hasattr(model, "posterior"):
        raise Refused(f"model: {type(model).__name__} has no posterior(x)")
    if loss.needs_decode and not hasattr(model, "decode"):
        raise Refused(f"model: {type(model).__name__} has no decode(z), which the loss {loss.name!r} needs")
    if getattr(model, "training", False):
        raise Refused("model: is in training mode; call model.eval() first")
    if isinstance(model, torch.nn.Module):
        for name, weights in model.state_dict().items():
            if not weights.isfinite().all():
                raise Refused(f"model: {name} holds values that are not finite")


def check_posterior(layers, count: int, loss: Loss) -> None:
    """Raises Refused: not one `DiagonalNormal` of ``count`` rows per layer, values not finite, or no width where it counts."""
    expected = "expected a sequence of vaepipe.models.distributions.DiagonalNormal, one per layer"
    if isinstance(layers, (Tensor, DiagonalNormal)) or not isinstance(layers, Sequence) or not layers:
        raise Refused(f"model.posterior(x): gave {type(layers).__name__}; {expected}")
    for q in layers:
        if not isinstance(q, DiagonalNormal):
            raise Refused(f"model.posterior(x): gave a sequence of {type(q).__name__}; {expected}")
        shapes = tuple(q.mean.shape), tuple(q.log_std.shape)
        if q.mean.ndim != 2 or shapes[0] != shapes[1] or shapes[0][0] != count:
            raise Refused(f"model.posterior(x): mean and log_std of shapes {shapes[0]} and {shapes[1]}; expected ({count}, D)")
        if not q.mean.isfinite().all() or not (q.log_std < torch.inf).all():
            raise Refused("model.posterior(x): holds values that are not finite")
        if loss.needs_width and q.log_std.isneginf().any():
            others = ", ".join(name for name in available_losses() if not find_loss(name).needs_width)
            raise Refused(f"loss: {loss.name!r} is infinite for a posterior without width; expected one of {others}")
