"""Encoders and decoders, as modules between (B, C, H, W) or (B, n) and a vector. Sizes follow the data's shape."""

from __future__ import annotations

import itertools
import math

from torch import nn


def mlp(shape: tuple[int, ...], d_z: int, hidden: list[int]) -> tuple[nn.Module, nn.Module]:
    """Chen et al. 2018's MLP: ReLU encoder to 2 d_z numbers, Tanh decoder with one hidden layer more."""
    n = math.prod(shape)
    encoder = _chain([n, *hidden, 2 * d_z], nn.ReLU)
    decoder = _chain([d_z, *hidden[::-1], hidden[0], n], nn.Tanh)
    return nn.Sequential(nn.Flatten(), encoder), nn.Sequential(decoder, nn.Unflatten(1, shape))


def _chain(widths: list[int], activation: type[nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])


def conv(shape: tuple[int, ...], d_z: int, hidden: list[int]) -> tuple[nn.Module, nn.Module]:
    """Chen et al. 2018's convolutions with BatchNorm: at 64×64 their layers exactly; other sizes halve down to 4 to 7."""
    C, H, W = shape
    sizes, channels = [(H, W)], [C]
    while min(sizes[-1]) >= 8:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
        channels.append(32 if len(channels) < 3 else 64)
    down: list[nn.Module] = []
    for before, after in itertools.pairwise(channels):
        down += [nn.Conv2d(before, after, 4, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
    down += [nn.Conv2d(channels[-1], 512, sizes[-1]), nn.BatchNorm2d(512), nn.ReLU(), nn.Conv2d(512, 2 * d_z, 1), nn.Flatten()]
    up: list[nn.Module] = [nn.Unflatten(1, (d_z, 1, 1)), nn.ConvTranspose2d(d_z, 512, 1), nn.BatchNorm2d(512), nn.ReLU()]
    up += [nn.ConvTranspose2d(512, channels[-1], sizes[-1]), nn.BatchNorm2d(channels[-1]), nn.ReLU()]
    for i in range(len(sizes) - 1, 0, -1):
        odd = tuple(big - 2 * small for big, small in zip(sizes[i - 1], sizes[i]))
        after = channels[i - 1]
        up.append(nn.ConvTranspose2d(channels[i], after, 4, 2, 1, output_padding=odd))
        up += [nn.BatchNorm2d(after), nn.ReLU()] if i > 1 else []
    return nn.Sequential(*down), nn.Sequential(*up)


NETWORKS = {"mlp": mlp, "conv": conv}
