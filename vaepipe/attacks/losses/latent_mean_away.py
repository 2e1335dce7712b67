"""The negative distance of the posterior mean from that of the clean image: `latent-mean` without a target.

−‖μ(x+d) − μ(x)‖₂; d is the distortion. The norm is not squared, so that a penalty λ‖d‖₂ can hold it.
Source: Salman et al. 2023 (PhotoGuard) attack encoders; Li et al. 2024 (PID) without a target.
"""

from vaepipe.attacks.loss import Loss, away

LOSS = Loss(
    name="latent-mean-away",
    title="latent mean attack without a target",
    unit="latent distance",
    build=away(lambda q, clean: (q.mean - clean.mean).square().sum(-1).clamp(min=1e-24).sqrt()),
    has_target=False,
)
