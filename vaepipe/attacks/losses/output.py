"""The negative evidence lower bound on the target, from the posterior of the adversarial input.

−E log p(x_t|z) + KL(q(z|x+d) ‖ p(z)), z ~ q(z|x+d); d is the distortion, x_t the target.
Source: Willetts et al. 2021.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.attacks.loss import Loss, Setting, infer

if TYPE_CHECKING:
    from torch import Tensor

    from vaepipe.attacks.loss import Divergence


def build(setting: Setting) -> Divergence:
    """Return the negative bound, a mean over samples of z.

    A posterior without width, such as an autoencoder's, has no KL: there the loss is the reconstruction term
    alone.
    """
    model = setting.model
    has_width = all(q.log_std.isfinite().all() for q in setting.goals)

    def divergence(x: Tensor, pair: Tensor) -> Tensor:
        posteriors, samples = infer(model, x, setting.noise[:, pair])
        target = setting.target[pair].repeat(len(setting.noise), *[1] * (x.ndim - 1))
        likelihood = model.decode(*(z.flatten(0, 1) for z in samples))
        value = -likelihood.log_prob(target).unflatten(0, (-1, len(x)))  # S, B
        if has_width:
            priors = model.priors(*samples) if hasattr(model, "priors") else [None] * len(posteriors)
            value = value + sum(q.kl(prior) for q, prior in zip(posteriors, priors))
        return value.mean(0)

    return divergence


LOSS = Loss(
    name="output",
    title="output attack",
    unit="nats",
    build=build,
    needs_decode=True,
)
