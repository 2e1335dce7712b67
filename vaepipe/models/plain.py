"""Models as people write them: ``encode`` and ``decode`` of any form, as ``posterior`` and ``decode``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vaepipe.models.distributions import Bernoulli, DiagonalNormal, Gaussian
from vaepipe.storage.errors import DataError

MEAN_OF = ("latents", "latent", "embedding", "z", "sample", "reconstruction", "x_hat")
"""Attributes or keys that hold the tensor of a library's output."""


class Plain(nn.Module):
    """A module with ``encode`` and ``decode`` as a model whose latents are flat.

    Args:
        model: ``encode(x)`` gives (mean, log variance), a normal of torch, something with ``latent_dist`` (as
            diffusers), or a tensor: of mean and log variance side by side if ``decode`` takes half of it,
            otherwise the latents of a deterministic autoencoder. Latents are (B, D) or (B, C, h, w), flat
            here and restored for ``decode``. ``decode(z)`` gives pictures (B, C, H, W), something that holds
            them (as diffusers), or a likelihood.
        likelihood: ``bernoulli``: pictures are logits; ``probabilities``: they are a Bernoulli's means;
            ``gaussian``: they are means.
        sigma: standard deviation of the Gaussian, in the model's own range.

    Raises:
        DataError: encode or decode gives something else.
    """

    def __init__(self, model: Any, likelihood: str = "gaussian", sigma: float = 0.1):
        super().__init__()
        self.model = model
        self.train(getattr(model, "training", False))
        self.likelihood, self.sigma = likelihood, sigma
        self.latent_shape: torch.Size | None = None  # (D,) or (C, h, w), known from the first images on
        self.both: bool | None = None  # whether encode gives mean and log variance in one tensor

    def posterior(self, x: Tensor) -> tuple[DiagonalNormal]:
        """q(z|x), of no width where the model is deterministic."""
        mean, log_std = self._moments(self.model.encode(x))
        self.latent_shape = mean.shape[1:]
        if log_std is None:
            log_std = torch.full_like(mean, -torch.inf)
        return (DiagonalNormal(mean.flatten(1), log_std.flatten(1)),)

    def decode(self, z: Tensor) -> Any:
        """p(x|z) of ``z`` (B, D)."""
        shape = z.shape[1:] if self.latent_shape is None else self.latent_shape
        output = self.model.decode(z.unflatten(1, shape))
        if hasattr(output, "log_prob"):
            return output
        pictures = tensor_of(output, "decode")
        if self.likelihood == "gaussian":
            return Gaussian(pictures, self.sigma)
        return Bernoulli(pictures if self.likelihood == "bernoulli" else pictures.logit(eps=1e-6))

    def _moments(self, given: Any) -> tuple[Tensor, Tensor | None]:
        """Return (mean, log standard deviation or None) of what encode gave."""
        moments = moments_of(given)
        if moments[1] is not None:
            return moments
        tensor = moments[0]
        if self.both is None:
            self.both = tensor.shape[1] % 2 == 0 and _takes_half(self.model.decode, tensor)
        if not self.both:
            return tensor, None
        mean, log_variance = tensor.chunk(2, 1)
        return mean, log_variance / 2


def moments_of(given: Any) -> tuple[Tensor, Tensor | None]:
    """Return (mean, log standard deviation) of an encoder's output; (tensor, None) if it is one tensor."""
    given = getattr(given, "latent_dist", given)
    given = getattr(given, "base_dist", given)  # of torch's Independent
    if isinstance(given, torch.distributions.Normal):
        return given.loc, given.scale.log()
    if isinstance(given, DiagonalNormal):
        return given.mean, given.log_std
    if hasattr(given, "mean") and hasattr(given, "logvar"):
        return given.mean, given.logvar / 2
    for mean, log_variance in (("embedding", "log_covariance"), ("mu", "logvar"), ("mu", "log_var")):
        if isinstance(given, dict) and mean in given and log_variance in given:
            return given[mean], given[log_variance] / 2
    if isinstance(given, (tuple, list)) and len(given) >= 2 and all(isinstance(t, Tensor) for t in given[:2]):
        return given[0], given[1] / 2
    return tensor_of(given, "encode"), None


def tensor_of(given: Any, method: str) -> Tensor:
    """Return the tensor that an output is or holds.

    Raises:
        DataError: it holds none.
    """
    if isinstance(given, (tuple, list)) and len(given) == 1:
        given = given[0]
    if isinstance(given, Tensor):
        return given
    for name in MEAN_OF:
        part = given.get(name) if isinstance(given, dict) else getattr(given, name, None)
        if isinstance(part, Tensor):
            return part
    raise DataError(f"{method}: gave {type(given).__name__}; expected a tensor, or a normal or likelihood")


def _takes_half(decode: Callable[[Tensor], Any], whole: Tensor) -> bool:
    """Return whether ``decode`` takes the first half of a tensor's columns and not all of them."""
    taken = []
    for z in (whole.chunk(2, 1)[0], whole):
        try:
            with torch.no_grad():
                decode(z)
            taken.append(True)
        except Exception:  # whatever the user's code raises for a shape that it does not take
            taken.append(False)
    return taken == [True, False]
