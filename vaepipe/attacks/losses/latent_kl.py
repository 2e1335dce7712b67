"""The Kullback–Leibler divergence from the posterior of the target.

KL(q(z|x+d) ‖ q(z|x_t)); d is the distortion, x_t the target.
Source: Tabacof et al. 2016; Gondim-Ribeiro et al. 2018.
"""

from vaepipe.attacks.loss import Loss, between, residuals_between

LOSS = Loss(
    name="latent-kl",
    title="latent KL attack",
    unit="nats",
    build=between(lambda q, goal: q.kl(goal)),
    residuals=residuals_between(lambda q, goal: q.kl_residuals(goal)),
    needs_width=True,
)
