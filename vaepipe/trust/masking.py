"""Is a model robust, or is the attack weak? Other distortions of the same size, which should not do better.

A gradient that is flat or misleading ("masked", Athalye, Carlini and Wagner 2018) makes an attack fail on a
model that is easy to fool. Random noise and the distortions of another model need no gradient; descent from
random starts needs another one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BISECTIONS = 40


def resize(x: Tensor, direction: Tensor, norm: Tensor) -> Tensor:
    """Return distortions d along ``direction``, cut to the box, with ‖d‖₂ = ``norm`` and x + d in [0,1].

    If the box allows no such length, the distortion is the longest with these signs.

    Args:
        x, direction: (B, C, H, W). norm: (B,).
    """
    shape = (-1, *[1] * (x.ndim - 1))

    def cut(length: Tensor) -> Tensor:
        return (x + length.view(shape) * direction).clamp(0, 1) - x

    low, high = torch.zeros_like(norm), norm / direction.flatten(1).norm(dim=1).clamp(min=1e-30)
    for _ in range(BISECTIONS):  # the norm grows with the length; double until it is reached
        short = cut(high).flatten(1).norm(dim=1) < norm
        high = torch.where(short & (high < 1e6), 2 * high, high)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        short = cut(middle).flatten(1).norm(dim=1) < norm
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return cut(low)


def gaussian(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return Gaussian noise of the shape of ``x``."""
    return torch.randn(x.shape, generator=generator, device=x.device)


def shrink(x: Tensor, distortion: Tensor, radius: Tensor) -> Tensor:
    """Return the distortions, cut to the box, then shortened to at most ``radius`` (B,)."""
    d = (x + distortion).clamp(0, 1) - x
    length = d.flatten(1).norm(dim=1)
    return d * (radius / length.clamp(min=1e-30)).clamp(max=1).view(-1, *[1] * (x.ndim - 1))


def descend(
    value: Callable[[Tensor], Tensor], x: Tensor, start: Tensor, radius: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """Minimise ``value`` in the ball ‖d‖₂ ≤ radius and the box by projected gradient descent.

    It shares no code with `vaepipe.attacks.solvers`.

    Steps go along the normalised gradient, 2.5 radii in all if the length stayed, and shrink to zero as a
    cosine.

    Args:
        value: (B, C, H, W) adversarial inputs → (B,) to be made small.
        x, start: (B, C, H, W) images and distortions. radius: (B,).

    Returns:
        The best distortion of each row on the way, and its value; rows that are never finite keep the start
        and infinity.
    """
    d = shrink(x, start, radius)
    best, least = d.clone(), torch.full_like(radius, torch.inf)
    for step in range(steps + 1):
        with torch.enable_grad():
            u = (x + d).requires_grad_()
            values = value(u)
            (grad,) = torch.autograd.grad(values.sum(), u)
        better = values < least
        best[better], least[better] = d[better], values.detach()[better]
        if step < steps:
            length = grad.flatten(1).norm(dim=1)
            rate = (
                2.5
                * radius
                / steps
                * 0.5
                * torch.pi
                * torch.cos(torch.tensor(0.5 * torch.pi * step / steps)).item()
            )
            move = (rate / length.clamp(min=1e-30)).nan_to_num(0).view(-1, *[1] * (x.ndim - 1))
            d = shrink(x, d - move * grad.nan_to_num(0), radius)
    return best, least
