"""Chen et al. 2018's multilayer perceptron: ReLU encoder, Tanh decoder with one hidden layer more."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vaepipe.models.network import Network

if TYPE_CHECKING:
    from torch import nn


def build(
    shape: tuple[int, ...], code: int, latent: int, hidden: list[int], batch_norm: bool | None = None
) -> tuple[nn.Module, nn.Module]:
    """The encoder and the decoder, for images or points of any shape; no BatchNorm unless it is asked for."""
    from torch import nn

    from vaepipe.models.layers import dense_layers

    n = math.prod(shape)
    encoder = dense_layers([n, *hidden, code], nn.ReLU, bool(batch_norm))
    decoder = dense_layers([latent, *hidden[::-1], hidden[0], n], nn.Tanh, bool(batch_norm))
    return nn.Sequential(nn.Flatten(), encoder), nn.Sequential(decoder, nn.Unflatten(1, shape))


NETWORK = Network("mlp", build, needs_images=False, settings=("hidden", "batch_norm"))
