"""The metrics of this package, by name, in the order of their columns in the tables."""

LATENT_METRICS: tuple[str, ...] = ("decomposition", "overlap", "active_units", "precision", "mig")
"""Of a model's aggregate posterior; ``vaepipe/metrics/latent/<name>.py``."""

TRIAL_METRICS: tuple[str, ...] = (
    "distances",
    "likelihood",
    "similarity",
    "psnr",
    "lpips",
    "reconstructions",
)
"""Of what an attack does to reconstructions; ``vaepipe/metrics/trial/<name>.py``."""
