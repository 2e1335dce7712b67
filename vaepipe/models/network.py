"""What a network is: facts, and a function that builds an encoder and a decoder. Imports without torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Network:
    """An architecture; ``vaepipe/models/networks/<name>.py`` holds one as ``NETWORK``.

    Attributes:
        name: as in the configuration.
        build: (shape, code, latent, hidden, batch_norm) → (encoder, decoder): modules from (B, *shape) to
            (B, code), and from (B, latent) to (B, *shape). ``shape`` is (C, H, W) with H, W ≥ 8, or (n,);
            ``hidden`` holds the widths of hidden layers, for networks that leave them open; ``batch_norm`` is
            whether hidden layers have BatchNorm, None as the source of the network has it.
        needs_images: whether points (n,) have no place in it.
        settings: keys of the section ``model`` that only some networks read, and this one does.
    """

    name: str
    build: Callable[..., tuple[nn.Module, nn.Module]]
    needs_images: bool = True
    settings: tuple[str, ...] = ()


def find_network(name: str) -> Network:
    """The network of ``vaepipe/models/networks/<name>.py``."""
    return importlib.import_module(f"vaepipe.models.networks.{name.replace('-', '_')}").NETWORK
