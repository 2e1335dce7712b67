"""The Kullback–Leibler divergence from the posterior of the target."""

from vaepipe.attacks.loss import Loss, between

LOSS = Loss(
    name="latent-kl",
    title="latent KL attack",
    unit="nats",
    formula="KL(q(z|x+d) ‖ q(z|x_t))",
    source="Tabacof et al. 2016; Gondim-Ribeiro et al. 2018",
    build=between(lambda q, goal: q.kl(goal)),
    needs_width=True,
)
