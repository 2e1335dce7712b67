"""The squared distance of the logarithms of the posterior widths: the targeted form of `latent-variance`.

‖ln σ(x+d) − ln σ(x_t)‖²; d is the distortion, x_t the target.
Source: after Li et al. 2024 (PID), who move the logarithm of the encoder's variance.
"""

from vaepipe.attacks.loss import Loss, between, residuals_between

LOSS = Loss(
    name="latent-variance-target",
    title="latent variance attack towards a target",
    unit="squared log width",
    build=between(lambda q, goal: (q.log_std - goal.log_std).square().sum(-1)),
    residuals=residuals_between(lambda q, goal: 2**0.5 * (q.log_std - goal.log_std)),
    needs_width=True,
)
