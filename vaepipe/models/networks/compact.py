"""A small network: up to 16 channels down to 4 to 7 pixels, one dense layer of 64, ReLU.

Its encoder and decoder have 55,000 weights at 64×64 pixels. It is the network of the models that come with
this package, see docs/zoo.md.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from vaepipe.models.network import Network

if TYPE_CHECKING:
    from torch import nn


def build(
    shape: tuple[int, ...], code: int, latent: int, hidden: list[int], batch_norm: bool | None = None
) -> tuple[nn.Module, nn.Module]:
    """The encoder and the decoder; ``hidden`` is not used."""
    from torch import nn

    from vaepipe.models.doubling import Doubling
    from vaepipe.models.layers import dense_layers, halved_sizes

    sizes = halved_sizes((shape[1], shape[2]))
    channels = [shape[0], 8, *[16] * len(sizes)][: len(sizes)]
    smallest = (channels[-1], *sizes[-1])
    down: list[nn.Module] = []
    for before, after in itertools.pairwise(channels):
        down += [nn.Conv2d(before, after, 4, 2, 1), nn.ReLU(inplace=True)]
    down += [nn.Flatten(), dense_layers([math.prod(smallest), 64, code], nn.ReLU)]
    up: list[nn.Module] = [
        dense_layers([latent, 64, math.prod(smallest)], nn.ReLU),
        nn.Unflatten(1, smallest),
    ]
    for i in range(len(sizes) - 1, 0, -1):
        up += [nn.ReLU(inplace=True), Doubling(channels[i], channels[i - 1], sizes[i], sizes[i - 1])]
    return nn.Sequential(*down), nn.Sequential(*up)


NETWORK = Network("compact", build)
