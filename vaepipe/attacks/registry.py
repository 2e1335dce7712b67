"""The attack losses, in the order in which they are listed; the loss `name` stands in `vaepipe/attacks/losses/<name>.py`."""

from __future__ import annotations

LOSSES: tuple[str, ...] = (
    "latent-kl",
    "latent-kl-forward",
    "latent-skl",
    "latent-w2",
    "latent-w2-root",
    "latent-mean",
    "output",
    "max-damage",
)
