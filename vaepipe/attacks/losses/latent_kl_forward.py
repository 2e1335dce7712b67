"""The Kullback–Leibler divergence of the target's posterior from that of the adversarial input."""

from vaepipe.attacks.loss import Loss, between

LOSS = Loss(
    name="latent-kl-forward",
    title="forward latent KL attack",
    unit="nats",
    formula="KL(q(z|x_t) ‖ q(z|x+d))",
    source="Kuzina et al. 2022",
    build=between(lambda q, goal: goal.kl(q)),
    needs_width=True,
)
