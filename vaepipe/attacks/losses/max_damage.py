"""The negative distance of the reconstructions from that of the clean image; there is no target.

−E ‖dec(z) − dec(μ(x))‖₂, z ~ q(z|x+d); d is the distortion, x_t the target.
Source: Camuto et al. 2021.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaepipe.attacks.loss import Loss, Setting, in_batches, infer

if TYPE_CHECKING:
    from torch import Tensor

    from vaepipe.attacks.loss import Divergence


def build(setting: Setting) -> Divergence:
    """Return the negative distance from the reconstruction at the clean mean; a mean over samples of z."""
    import torch

    model = setting.model

    def reconstruct_at_mean(x: Tensor) -> Tensor:
        return model.decode(*(q.mean for q in model.posterior(x))).mean

    clean = in_batches(reconstruct_at_mean, setting.x, setting.batch_size)

    def divergence(x: Tensor, pair: Tensor) -> Tensor:
        samples = infer(model, x, setting.noise[:, pair])[1]
        pictures = model.decode(*(z.flatten(0, 1) for z in samples)).mean.unflatten(0, (-1, len(x)))
        return -torch.linalg.vector_norm((pictures - clean[pair]).flatten(2), dim=2).mean(0)

    return divergence


LOSS = Loss(
    name="max-damage",
    title="maximum damage attack",
    unit="2-norm of pixels",
    build=build,
    needs_decode=True,
    has_target=False,
)
