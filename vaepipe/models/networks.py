"""Encoders and decoders: modules from (B, C, H, W) or (B, n) to ``code`` numbers, and from ``latent`` numbers back.

Sizes follow the data's shape, which may be any from 8 pixels up.
"""

from __future__ import annotations

import itertools
import math

from torch import nn

from vaepipe.models.doubling import Doubling


def mlp(shape: tuple[int, ...], code: int, latent: int, hidden: list[int]) -> tuple[nn.Module, nn.Module]:
    """Chen et al. 2018's MLP: ReLU encoder, Tanh decoder with one hidden layer more."""
    n = math.prod(shape)
    encoder = _chain([n, *hidden, code], nn.ReLU)
    decoder = _chain([latent, *hidden[::-1], hidden[0], n], nn.Tanh)
    return nn.Sequential(nn.Flatten(), encoder), nn.Sequential(decoder, nn.Unflatten(1, shape))


def _chain(widths: list[int], activation: type[nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])


def conv(shape: tuple[int, ...], code: int, latent: int, hidden: list[int]) -> tuple[nn.Module, nn.Module]:
    """Chen et al. 2018's convolutions with BatchNorm: at 64×64 their layers exactly; other sizes halve down to 4 to 7."""
    sizes = _halvings(shape[1:])
    channels = [shape[0], 32, 32, *[64] * len(sizes)][: len(sizes)]
    down: list[nn.Module] = []
    for before, after in itertools.pairwise(channels):
        down += [nn.Conv2d(before, after, 4, 2, 1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    down += [
        nn.Conv2d(channels[-1], 512, sizes[-1]),
        nn.BatchNorm2d(512),
        nn.ReLU(inplace=True),
        nn.Conv2d(512, code, 1),
        nn.Flatten(),
    ]
    up: list[nn.Module] = [
        nn.Unflatten(1, (latent, 1, 1)),
        nn.ConvTranspose2d(latent, 512, 1),
        nn.BatchNorm2d(512),
        nn.ReLU(inplace=True),
    ]
    up += [nn.ConvTranspose2d(512, channels[-1], sizes[-1]), nn.BatchNorm2d(channels[-1]), nn.ReLU(inplace=True)]
    for i in range(len(sizes) - 1, 0, -1):
        up.append(Doubling(channels[i], channels[i - 1], sizes[i], sizes[i - 1]))
        up += [nn.BatchNorm2d(channels[i - 1]), nn.ReLU(inplace=True)] if i > 1 else []
    return nn.Sequential(*down), nn.Sequential(*up)


def burgess(shape: tuple[int, ...], code: int, latent: int, hidden: list[int]) -> tuple[nn.Module, nn.Module]:
    """Burgess et al. 2018's convolutions: 32 channels down to 4 to 7 pixels, then two dense layers of 256, ReLU."""
    sizes = _halvings(shape[1:])
    channels = [shape[0], *[32] * len(sizes)][: len(sizes)]
    small = (channels[-1], *sizes[-1])
    down: list[nn.Module] = []
    for before, after in itertools.pairwise(channels):
        down += [nn.Conv2d(before, after, 4, 2, 1), nn.ReLU(inplace=True)]
    up: list[nn.Module] = [_chain([latent, 256, 256, math.prod(small)], nn.ReLU), nn.Unflatten(1, small)]
    for i in range(len(sizes) - 1, 0, -1):
        up += [nn.ReLU(inplace=True), Doubling(channels[i], channels[i - 1], sizes[i], sizes[i - 1])]
    return nn.Sequential(*down, nn.Flatten(), _chain([math.prod(small), 256, 256, code], nn.ReLU)), nn.Sequential(*up)


def _halvings(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Heights and widths from ``size`` down, halved and rounded down while both stay at 4 or more."""
    sizes = [size]
    while min(sizes[-1]) >= 8:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


NETWORKS = {"mlp": mlp, "conv": conv, "burgess": burgess}
