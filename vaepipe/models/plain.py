"""Models as people write them: ``encode`` and ``decode`` of any form, as ``posterior`` and ``decode``."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from vaepipe.models.distributions import Bernoulli, DiagonalNormal, Gaussian
from vaepipe.models.forms import Form, find_form, picture_of

ENCODERS = ("encode", "_encode", "forward", "encoder")
DECODERS = ("decode", "_decode", "decoder")
"""Usual names; the first one that there is. Of ``forward``, which may give mean and width beside pictures,
and ``encoder``, which may give features only, it is the first whose latents the decoder takes."""
METHODS = ENCODERS[:2]
SAMPLERS = ("reparameterize", "reparametrize", "reparameterise", "reparam")
"""Usual names of the method that draws z from mean and width; it tells what the width is."""


def is_plain(model: Any) -> bool:
    """Return whether a model has something to encode and something to decode with."""
    return bool(_named(model, ENCODERS) and _named(model, DECODERS))


def _named(model: Any, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if callable(getattr(model, name, None))]


class Plain(nn.Module):
    """A module with an encoder and a decoder as a model whose latents are flat.

    What the encoder gives is found out from the first images: see `vaepipe.models.forms.find_form`. Networks
    may take and give flat pictures. Latents (B, C, h, w) are flat here and restored for the decoder.

    Args:
        model: has one of `ENCODERS` and one of `DECODERS`, which gives pictures, something that holds them
            (as diffusers), or a likelihood.
        likelihood: ``bernoulli``: pictures are logits; ``probabilities``: they are a Bernoulli's means;
            ``gaussian``: they are means.
        sigma: standard deviation of the Gaussian, in the model's own range.
        form: where the mean and the width are; None finds it out.

    Raises:
        DataError: encoder or decoder gives something else.
    """

    def __init__(
        self, model: Any, likelihood: str = "gaussian", sigma: float = 0.1, form: Form | None = None
    ):
        super().__init__()
        self.model = model
        self.train(getattr(model, "training", False))
        self.likelihood, self.sigma, self.form = likelihood, sigma, form
        self.encoder, self.decoder, self.flat = ENCODERS[0], DECODERS[0], False
        self.image_shape: torch.Size | None = None  # (C, H, W), known from the first images on
        self.latent_shape: torch.Size | None = None  # (D,) or (C, h, w)

    def posterior(self, x: Tensor) -> tuple[DiagonalNormal]:
        """q(z|x), of no width where the model is deterministic."""
        if self.image_shape is None:
            self._find_out(x)
        assert self.form is not None
        mean, log_std = self.form.moments(self._encode(x))
        if log_std is None:
            log_std = torch.full_like(mean, -torch.inf)
        return (DiagonalNormal(mean.flatten(1), log_std.flatten(1)),)

    def decode(self, z: Tensor) -> Any:
        """p(x|z) of ``z`` (B, D)."""
        assert self.image_shape is not None and self.latent_shape is not None, "no image was encoded before"
        pictures = self._decode(z.unflatten(1, self.latent_shape))
        if hasattr(pictures, "log_prob"):
            return pictures
        if self.likelihood == "gaussian":
            return Gaussian(pictures, self.sigma)
        return Bernoulli(pictures if self.likelihood == "bernoulli" else pictures.logit(eps=1e-6))

    def _encode(self, x: Tensor) -> Any:
        return getattr(self.model, self.encoder)(x.flatten(1) if self.flat else x)

    def _decode(self, z: Tensor) -> Any:
        assert self.image_shape is not None
        return picture_of(getattr(self.model, self.decoder)(z), self.image_shape)

    @torch.no_grad()
    def _find_out(self, x: Tensor) -> None:
        """Find the encoder, whether networks take flat pictures, and the form: the first ones that work.

        Raises:
            Exception: none works; what the first one raised.
        """
        noise = torch.rand(4, *x.shape[1:], generator=torch.Generator().manual_seed(0)).to(x)
        probe, wanted, errors = x[:1] + noise - 0.5, self.form, []
        encoders = _named(self.model, ENCODERS)
        if encoders[0] in METHODS:
            encoders = encoders[:1]
        self.decoder, self.image_shape = _named(self.model, DECODERS)[0], x.shape[1:]
        for self.encoder, self.flat in itertools.product(encoders, (False, True)):
            try:
                self.form = wanted or self._form_of(probe)
                mean, _ = self.form.moments(self._encode(probe))
                self.latent_shape = mean.shape[1:]
                self._decode(mean)
                return
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # whatever the user's code raises for what it does not take
                errors.append(error)
        self.image_shape, self.form = None, wanted
        raise errors[0]

    def _form_of(self, x: Tensor) -> Form:
        draw = next((getattr(self.model, name) for name in SAMPLERS if hasattr(self.model, name)), None)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return find_form(lambda: self._encode(x), x, self._takes, draw)

    def _takes(self, z: Tensor) -> bool:
        """Return whether the decoder makes pictures of these latents."""
        try:
            self._decode(z)
        except Exception:  # whatever the user's code raises for a shape that it does not take
            return False
        return True
