"""The Kullback–Leibler divergence of the target's posterior from that of the adversarial input.

KL(q(z|x_t) ‖ q(z|x+d)); d is the distortion, x_t the target.
Source: Kuzina et al. 2022.
"""

from vaepipe.attacks.loss import Loss, between, residuals_between

LOSS = Loss(
    name="latent-kl-forward",
    title="forward latent KL attack",
    unit="nats",
    build=between(lambda q, goal: goal.kl(q)),
    residuals=residuals_between(lambda q, goal: goal.kl_residuals(q)),
    needs_width=True,
)
