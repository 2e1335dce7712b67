"""How much wider the posterior becomes; there is no target.

−Σ_k ln(σ_k(x+d) / σ_k(x)), the fall of the posterior's entropy; d is the distortion.
Source: the image-protection literature moves the logarithm of the encoder's variance (Li et al. 2024, PID).
"""

from vaepipe.attacks.loss import Loss, away

LOSS = Loss(
    name="latent-variance",
    title="latent variance attack",
    unit="nats",
    build=away(lambda q, clean: (q.log_std - clean.log_std).sum(-1)),
    needs_width=True,
    has_target=False,
)
