"""Parts that several networks share."""

from __future__ import annotations

import itertools

from torch import nn


def dense_layers(widths: list[int], activation: type[nn.Module], batch_norm: bool = False) -> nn.Sequential:
    """Linear layers from each width to the next, with BatchNorm, if asked for, and the activation between."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        between = [nn.BatchNorm1d(after), activation()] if batch_norm else [activation()]
        layers += [nn.Linear(before, after), *between]
    return nn.Sequential(*layers[: -len(between)])


def halved_sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Heights and widths from ``size`` down, halved and rounded down while both stay at 4 or more."""
    sizes = [size]
    while min(sizes[-1]) >= 8:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes
