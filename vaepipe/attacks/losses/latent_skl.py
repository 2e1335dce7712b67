"""The symmetric Kullback–Leibler divergence.

½ KL(q(z|x+d) ‖ q(z|x_t)) + ½ KL(q(z|x_t) ‖ q(z|x+d)); d is the distortion, x_t the target.
Source: Kuzina et al. 2021.
"""

from vaepipe.attacks.loss import Loss, between

LOSS = Loss(
    name="latent-skl",
    title="symmetric latent KL attack",
    unit="nats",
    build=between(lambda q, goal: 0.5 * (q.kl(goal) + goal.kl(q))),
    needs_width=True,
)
