"""The squared distance of the posterior means."""

from vaepipe.attacks.loss import Loss, between

LOSS = Loss(
    name="latent-mean",
    title="latent mean attack",
    unit="squared latent distance",
    formula="‖μ(x+d) − μ(x_t)‖²",
    source="Tabacof et al. 2016, for autoencoders",
    build=between(lambda q, goal: (q.mean - goal.mean).square().sum(-1)),
)
