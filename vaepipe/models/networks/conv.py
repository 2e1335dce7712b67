"""Chen et al. 2018's convolutions with BatchNorm: exact at 64×64; other sizes halve down to 4 to 7."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from vaepipe.models.network import Network

if TYPE_CHECKING:
    from torch import nn


def build(
    shape: tuple[int, ...], code: int, latent: int, hidden: list[int], batch_norm: bool | None = None
) -> tuple[nn.Module, nn.Module]:
    """The encoder and the decoder, with BatchNorm unless it is turned off; ``hidden`` is not used."""
    from torch import nn

    from vaepipe.models.doubling import Doubling
    from vaepipe.models.layers import halved_sizes

    def normalised(layer: nn.Module, channels: int) -> list[nn.Module]:
        between = [] if batch_norm is False else [nn.BatchNorm2d(channels)]
        return [layer, *between, nn.ReLU(inplace=True)]

    sizes = halved_sizes((shape[1], shape[2]))
    channels = [shape[0], 32, 32, *[64] * len(sizes)][: len(sizes)]
    down: list[nn.Module] = []
    for before, after in itertools.pairwise(channels):
        down += normalised(nn.Conv2d(before, after, 4, 2, 1), after)
    down += [*normalised(nn.Conv2d(channels[-1], 512, sizes[-1]), 512), nn.Conv2d(512, code, 1), nn.Flatten()]
    up: list[nn.Module] = [
        nn.Unflatten(1, (latent, 1, 1)),
        *normalised(nn.ConvTranspose2d(latent, 512, 1), 512),
    ]
    up += normalised(nn.ConvTranspose2d(512, channels[-1], sizes[-1]), channels[-1])
    for i in range(len(sizes) - 1, 1, -1):
        up += normalised(Doubling(channels[i], channels[i - 1], sizes[i], sizes[i - 1]), channels[i - 1])
    if len(sizes) > 1:
        up.append(Doubling(channels[1], channels[0], sizes[1], sizes[0]))
    return nn.Sequential(*down), nn.Sequential(*up)


NETWORK = Network("conv", build, settings=("batch_norm",))
