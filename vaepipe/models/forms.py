"""What other people's encoders and decoders give: a mean, a width and pictures, by name or by behaviour."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vaepipe.models.distributions import DiagonalNormal
from vaepipe.storage.errors import DataError

Parts = dict[Any, Tensor]
"""Tensors of an output by name, or by position in a tuple."""

READINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "log variance": lambda width: width / 2,
    "log standard deviation": lambda width: width,
    "standard deviation": torch.log,
    "variance": lambda width: width.log() / 2,
}
"""What a width may be → log standard deviation."""
MEANS = ("mean", "mu", "loc", "z_mean", "embedding")
WIDTHS = {
    "log variance": ("logvar", "log_var", "log_variance", "z_log_var", "log_covariance"),
    "log standard deviation": ("log_std", "logstd", "log_sigma", "log_scale"),
    "standard deviation": ("std", "sigma", "scale", "stddev"),
    "variance": ("var", "variance"),
}
"""Usual names of a mean and of a width."""
POINTS = ("latents", "latent", "embedding", "z", "sample", "reconstruction", "x_hat", "recon")
"""Usual names of latents and of pictures."""
DRAWS = 16
FACTOR = 1.5
"""Draws that tell what a width is: the likeliest of those that agree within this factor. Assumptions."""


@dataclass(frozen=True)
class Form:
    """Where an encoder's output has the mean and the width, and what the width is.

    Attributes:
        mean, width: keys of the parts; a width of None: there is none.
        reading: one of `READINGS`.
        halves: the part ``mean`` holds both, side by side along axis 1.
    """

    mean: Any
    width: Any = None
    reading: str = "log variance"
    halves: bool = False

    def moments(self, given: Any) -> tuple[Tensor, Tensor | None]:
        """Return (mean, log standard deviation or None)."""
        parts = parts_of(given)
        mean, width = parts[self.mean], None if self.width is None else parts[self.width]
        if self.halves:
            mean, width = mean.chunk(2, 1)
        return mean, None if width is None else READINGS[self.reading](width)

    def __str__(self) -> str:
        if self.width is None and not self.halves:
            return "latents without width"
        return f"mean and {self.reading}{' in one tensor' if self.halves else ''}"


def parts_of(given: Any, method: str = "encode") -> Parts:
    """Return the tensors of an output: of a tensor, a distribution, a mapping, a tuple or an object.

    Args:
        method: that gave it, for the error message.

    Raises:
        DataError: there are none.
    """
    given = getattr(given, "latent_dist", given)  # of diffusers
    given = getattr(given, "base_dist", given)  # of torch's Independent
    if isinstance(given, Tensor):
        return {0: given}
    if isinstance(given, torch.distributions.Normal):
        return {"mean": given.loc, "std": given.scale}
    if isinstance(given, DiagonalNormal):
        return {"mean": given.mean, "log_std": given.log_std}
    if isinstance(given, (tuple, list)) and not hasattr(given, "_fields"):
        items: Mapping[Any, Any] = dict(enumerate(_flat(given)))
    elif isinstance(given, Mapping):
        items = given
    else:
        names = [*getattr(given, "__dict__", {}), *MEANS, *sum(WIDTHS.values(), ()), *POINTS]
        items = {name: getattr(given, name, None) for name in names}
    for item in items.values():
        if isinstance(getattr(item, "base_dist", item), (torch.distributions.Normal, DiagonalNormal)):
            return parts_of(item)
    parts = {key: item for key, item in items.items() if isinstance(item, Tensor) and item.ndim > 1}
    if not parts:
        expected = "expected a tensor, several of them, or a normal or likelihood"
        raise DataError(f"{method}: gave {type(given).__name__}; {expected}")
    return parts


def _flat(given: Any) -> list[Any]:
    return [leaf for item in given for leaf in (_flat(item) if isinstance(item, (tuple, list)) else [item])]


def find_form(
    ask: Callable[[], Any],
    x: Tensor,
    takes: Callable[[Tensor], bool],
    draw: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Form:
    """Return the form of an encoder's output.

    Names decide. Without names, tensors that differ when asked twice are samples, those like the images are
    reconstructions, and the first two of one shape among the others are mean and width. One tensor holds both
    where the decoder takes a half of it and not the whole.

    Args:
        ask: gives what the encoder gives for ``x`` (B, C, H, W), each time with other random numbers.
        takes: whether the decoder takes a tensor of latents.
        draw: the model's own way from mean and width to a sample, where it has one.
    """
    parts, others = parts_of(ask()), parts_of(ask())
    for mean in MEANS:
        for reading, names in WIDTHS.items():
            if mean in parts and (width := next((name for name in names if name in parts), None)):
                return Form(mean, width, reading)
    if point := next((name for name in POINTS if name in parts), None):
        return Form(point)
    known = [key for key, part in parts.items() if part.shape != x.shape] or list(parts)
    fixed = [key for key in known if parts[key].equal(others[key])]
    keys = fixed if len(fixed) > 1 else known  # one alone may be the constant width of a mean that is drawn
    while len(keys) > 2 and (same := _repeated(keys, parts)) is not None:
        keys.remove(same)
    for mean, width in itertools.pairwise(keys):
        m, w = parts[mean], parts[width]
        if m.shape == w.shape:
            sampled = [key for key, part in parts.items() if key not in keys and part.shape == m.shape]
            if draw is not None:
                draws = [draw(m, w) for _ in range(DRAWS)]
            else:
                draws = [parts_of(ask())[key] for key in sampled[:1] for _ in range(DRAWS)]
            return Form(mean, width, read_width(m, w, draws))
    (whole, *_) = keys
    halves = parts[whole].shape[1] % 2 == 0 and not takes(parts[whole]) and takes(parts[whole].chunk(2, 1)[0])
    return Form(whole, halves=halves)


def _repeated(keys: list[Any], parts: Parts) -> Any:
    """Return a key whose tensor is that of an earlier key: in eval mode many give the mean as the sample."""
    for number, key in enumerate(keys):
        for earlier in keys[:number]:
            if parts[key].shape == parts[earlier].shape and parts[key].equal(parts[earlier]):
                return key
    return None


def read_width(mean: Tensor, width: Tensor, samples: list[Tensor]) -> str:
    """Return what a width without a name is: what the spread of samples says, otherwise what its sign says.

    A log variance of a trained VAE is negative somewhere, as its posteriors are narrower than its prior; a
    tensor that is positive everywhere is a standard deviation.

    Args:
        mean, width: (B, …). samples: of the posterior, each (B, …).
    """
    z = torch.stack(samples) - mean if samples else torch.zeros(())
    if z.any():
        fits = {}
        for name, reading in READINGS.items():
            log_std = reading(width)
            square = (z / log_std.exp()).square()
            if 1 / FACTOR < float(square.mean().sqrt()) < FACTOR:
                fits[name] = float((log_std + square / 2).mean())  # minus the log-likelihood
        if fits:
            return min(fits, key=lambda name: fits[name])
    return "standard deviation" if (width > 0).all() else "log variance"


def picture_of(given: Any, shape: torch.Size) -> Any:
    """Return the pictures (B, C, H, W) of a decoder's output, or its likelihood as it is.

    Args:
        shape: (C, H, W); pictures may be flat.

    Raises:
        DataError: there are none.
    """
    if hasattr(given, "log_prob"):
        return given
    parts = parts_of(given, "decode").values()
    fitting = [part for part in parts if part[0].numel() == shape.numel()]
    if not fitting:
        shapes = ", ".join(str(tuple(part.shape)) for part in parts)
        raise DataError(f"decode: gave {shapes}; expected (B, {', '.join(map(str, shape))})")
    return fitting[0].reshape(-1, *shape)
