"""Losses of the attacks, by name. The loss ``latent-kl`` is the file losses/latent_kl.py."""

LOSSES: tuple[str, ...] = (
    "latent-kl",
    "latent-kl-forward",
    "latent-skl",
    "latent-w2",
    "latent-w2-root",
    "latent-mean",
    "latent-mean-away",
    "latent-variance",
    "latent-variance-target",
    "output",
    "max-damage",
)
