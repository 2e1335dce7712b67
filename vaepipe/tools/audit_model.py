"""What an audit finds out by itself: a model's entry, the shape and range of its images, its likelihood."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaepipe.models import external
from vaepipe.models.adapter import ADAPTERS, find_adapter, split_entry
from vaepipe.models.checkpoint_file import read_checkpoint
from vaepipe.models.plain import Plain
from vaepipe.models.user_code import OBJECTS
from vaepipe.storage.errors import DataError
from vaepipe.storage.weights import write_weights
from vaepipe.tools import zoo

NONE = "weights.safetensors"
"""File in the audit's folder that stands for weights where a function or an object has its own."""
SIDES = (64, 32, 28, 128, 256, 224, 96, 48, 16, 8, 512)
"""Sides of images that are tried, after that of the first image."""
LARGEST = 128
"""A first image that is larger is not tried at its own size first: attacks on many pixels take long."""
RANGES: Sequence[tuple[float, float]] = ((0, 1), (-1, 1), (-0.5, 0.5), (0, 255))
"""Of pixels, that are tried."""
TINY = 0.01
"""Share of the spread of the means below which the posterior's width makes the KL no level. Assumption."""


@dataclass(frozen=True)
class Found:
    """A model with what decides how it is called: keys of the section ``external``."""

    entry: str
    weights: str
    key: str | None = None
    range: tuple[float, float] | None = None
    likelihood: str | None = None
    shape: tuple[int, ...] | None = None
    d_z: int | None = None


def find_model(model: str, weights: str | None, key: str | None) -> Found:
    """Return the entry and the weights of a model as the command line names it.

    Args:
        model: ``file.py:function``, ``package.module:function``, ``zoo:NAME``, or ``library:PATH``.
        weights: checkpoint; None for the zoo and for libraries, whose folder has it, and for functions that
            need none.

    Raises:
        DataError: there is no such model, library or file.
    """
    name, _, rest = model.partition(":")
    if name == "zoo":
        return Found(f"vaepipe.tools.zoo:{rest.replace('-', '_')}", str(zoo.find(rest)), range=(0.0, 1.0))
    if (library := split_entry(model)) is not None:
        adapter, path = find_adapter(library[0]), Path(library[1]).resolve()
        if not path.exists():
            raise DataError(f"--model {model}: {path} does not exist; expected what {library[0]} saved")
        file, place = adapter.weights(path)
        entry = f"{library[0]}:{path}"
        return Found(entry, str(weights or file), key or place, adapter.range, shape=adapter.shape(path))
    place, _, function = model.rpartition(":")
    if not place or not function.isidentifier():
        kinds = "file.py:function, package.module:function, zoo:NAME, diffusers:FOLDER, pythae:FOLDER"
        raise DataError(f"--model {model}: expected {kinds} or compressai:FILE")
    if place.endswith(".py"):
        if not Path(place).is_file():
            raise DataError(f"--model {model}: {place} is not a file")
        place = str(Path(place).resolve())
    elif importlib.util.find_spec(place.partition(".")[0]) is None:
        known = f"before the colon may be {', '.join(('zoo', *ADAPTERS))}"
        raise DataError(f"--model {model}: no module {place!r} is installed; {known}")
    if weights is not None and not Path(weights).is_file():
        raise DataError(f"--weights {weights}: not a file")
    return Found(f"{place}:{function}", str(Path(weights).resolve()) if weights else NONE, key)


def adopt_object(model: Any) -> Found:
    """Return a model of this process as an entry; it cannot be built again from the files of the audit."""
    name = f"{type(model).__name__}_{len(OBJECTS)}"
    OBJECTS[name] = model
    return Found(f"object:{name}", NONE)


def write_no_weights(folder: Path) -> None:
    """Write the file that stands for the weights of a model that needs none."""
    write_weights(folder / NONE, {"none": torch.zeros(1)}, {})


def fit_shape(found: Found, first: tuple[int, int, int], resized: bool = True) -> Found:
    """Return the model with the first shape (C, H, W) that it takes, and its d_z.

    Args:
        first: shape of the first image.
        resized: whether images are files, which become square and as large as the model needs; others keep
            their shape, which is tried first.

    Raises:
        DataError: it takes none of those tried; what it says of the first one.
    """
    tensors = read_checkpoint(found.weights, found.key)
    if infinite := [name for name, t in tensors.items() if not torch.isfinite(t).all()]:
        raise DataError(f"{found.weights}: {infinite[0]} holds values that are not finite")
    reason: external.DoesNotFit | None = None
    own = [] if resized else [first, *((count, *first[1:]) for count in (3, 1))]
    shapes = [found.shape] if found.shape else list(dict.fromkeys([*own, *_shapes(*first)]))
    for shape in shapes:
        try:
            built = build(replace(found, shape=shape), tensors)
            return replace(found, shape=tuple(shape), d_z=sum(built.latent_sizes))
        except external.DoesNotFit as error:
            reason = reason or error
    tried = f"; nor {len(shapes) - 1} other shapes, say --shape C,H,W" if len(shapes) > 1 else ""
    raise DataError(f"{reason}{tried}") from reason


def _shapes(channels: int, height: int, width: int) -> Iterator[tuple[int, int, int]]:
    own = [min(height, width)] if min(height, width) <= LARGEST else []
    for side in dict.fromkeys([*own, *SIDES]):
        for count in dict.fromkeys([channels, 3, 1]):
            yield count, side, side


def build(found: Found, tensors: dict[str, Tensor] | None = None) -> external.External:
    """Return the model behind this package's interface; what is unknown has its default."""
    assert found.shape is not None
    tensors = read_checkpoint(found.weights, found.key) if tensors is None else tensors
    options = replace(found, range=found.range or (0.0, 1.0), likelihood=found.likelihood or "gaussian")
    return external.build(options, tensors, found.shape).requires_grad_(False)  # type: ignore[arg-type]


@torch.no_grad()
def fit_range(found: Found, x: Tensor) -> tuple[Found, str]:
    """Return the model with the range and likelihood under which it reconstructs best, and a line of it.

    Args:
        x: (B, C, H, W) images in [0,1].
    """
    ranges, likelihoods = [found.range] if found.range else RANGES, [found.likelihood or "gaussian"]
    inner = build(found).inner
    is_plain = isinstance(inner, Plain)
    unknown = is_plain and not found.likelihood and split_entry(found.entry) is None
    if unknown:  # others say themselves what their decoder gives
        likelihoods.append("bernoulli")
    errors = {}
    for pixels in ranges:
        for likelihood in likelihoods if pixels == (0, 1) else likelihoods[:1]:
            candidate = replace(found, range=pixels, likelihood=likelihood)
            with contextlib.suppress(DataError):
                model = build(candidate)
                pictures = model.decode(*(q.mean for q in model.posterior(x))).mean
                errors[candidate] = float((pictures - x).square().mean().sqrt())
    if not errors:
        candidate = replace(found, range=ranges[0], likelihood=likelihoods[0])
        build(candidate)  # raises what is wrong
        return candidate, ""
    best = min(errors, key=lambda candidate: errors[candidate])
    low, high = best.range or (0.0, 1.0)
    line = f"encoder gives {inner.form}; " if is_plain else ""
    line += f"decoder is read as {best.likelihood}; " if unknown else ""
    line += f"pixels in [{low:g}, {high:g}], reconstruction error {errors[best]:.3f}"
    others = sorted(error for candidate, error in errors.items() if candidate != best)
    if others:
        line += f" (next best reading {others[0]:.3f}; --range and --likelihood set it)"
    return best, line


@torch.no_grad()
def posterior_state(model: external.External, x: Tensor) -> str:
    """Return ``point`` for posteriors without width, ``tiny`` if narrow beside their means, or ``wide``."""
    posteriors = model.posterior(x)
    if any(q.log_std.isneginf().any() for q in posteriors):
        return "point"
    shares = torch.cat([(q.log_std.exp().mean(0) / q.mean.std(0).clamp(min=1e-12)) for q in posteriors])
    return "tiny" if float(shares.median()) < TINY else "wide"
