"""The squared distance of the posterior means.

‖μ(x+d) − μ(x_t)‖²; d is the distortion, x_t the target.
Source: Tabacof et al. 2016, for autoencoders.
"""

from vaepipe.attacks.loss import Loss, between, residuals_between

LOSS = Loss(
    name="latent-mean",
    title="latent mean attack",
    unit="squared latent distance",
    build=between(lambda q, goal: (q.mean - goal.mean).square().sum(-1)),
    residuals=residuals_between(lambda q, goal: 2**0.5 * (q.mean - goal.mean)),
)
