"""Weights of other people's checkpoints: names and tensors, wherever in the file. No pickle is executed.

A file of `torch.save` often holds more than weights, such as an optimiser or an `argparse.Namespace`. Objects
of other classes become `Inert`; their classes are not imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from vaepipe.models.adapter import shown
from vaepipe.storage.errors import DataError
from vaepipe.storage.weights import read_weights

WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before the names of a model's weights."""


class Inert:
    """Stands for an object of a class that is no part of a state dict."""

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_checkpoint(path: str | Path, key: str | None) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file or of a file written by torch.save, on the CPU.

    Args:
        key: place of the weights, such as ``state_dict``; dots go deeper, into dictionaries and into names:
            ``state_dict.vae`` takes ``vae.encoder.weight`` as ``encoder.weight``, and so does ``vae`` if only
            one place holds names with tensors. None takes that place.

    Raises:
        DataError: the file is missing, holds something else, or could only be read by executing code.
    """
    content = read_weights(path)[0] if Path(path).suffix == ".safetensors" else _load(path)
    places = dict(_places(content))
    if key and len(places) == 1:
        (weights,) = places.values()
        places[key] = _below(weights, key)
    found = places.get(key or "") or _weights_in(_at(content, key, path), path)
    for wrapper in WRAPPERS:
        if all(name.startswith(wrapper) for name in found):
            found = {name.removeprefix(wrapper): tensor for name, tensor in found.items()}
    return {name: tensor.clone() for name, tensor in found.items()}


def _load(path: str | Path) -> Any:
    """Return what a file of torch.save holds, with objects of other classes as `Inert`."""
    rule = "write them with torch.save(model.state_dict(), …) or as safetensors"
    try:
        names = _other_classes(path)
        stubs = [(type(name, (Inert,), {}), name) for name in names]
        with safe_globals(stubs):  # type: ignore[arg-type]  # pairs of a class and its name are allowed
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except Exception as error:  # torch and pickle raise many kinds
        raise DataError(f"{path}: damaged, or holds more than weights; {rule}") from error
    if isinstance(content, Inert):
        kind = type(content).__name__
        raise DataError(f"{path}: holds more than weights, an object of the class {kind}; {rule}")
    return content


def _other_classes(path: str | Path) -> list[str]:
    """Return the classes in a file that PyTorch does not load; none of files in the format before 1.6."""
    try:
        return get_unsafe_globals_in_checkpoint(path)
    except ValueError:
        return []


def _at(content: Any, key: str | None, path: str | Path) -> Any:
    """Return what lies at the key."""
    rest = key or ""
    while rest:
        known = [str(name) for name in content] if isinstance(content, Mapping) else []
        fitting = [name for name in known if f"{rest}.".startswith(f"{name}.")]  # such as model.ema
        if fitting:
            longest = max(fitting, key=len)
            content, rest = content[longest], rest[len(longest) + 1 :]
            continue
        below = _below(content, rest) if known else {}
        if not below:
            raise DataError(f"{path}: has no {key!r}; it has {shown(known) or 'no names'}")
        return below
    return content


def _below(content: Mapping[Any, Any], key: str) -> dict[str, Any]:
    """Return what lies below a name with dots, without that part of the name."""
    start = f"{key}."
    return {str(name)[len(start) :]: part for name, part in content.items() if str(name).startswith(start)}


def _weights_in(content: Any, path: str | Path) -> dict[str, Tensor]:
    """Return the only names with tensors in what a checkpoint holds."""
    places = dict(_places(content))
    if len(places) == 1:
        return next(iter(places.values()))
    if places:
        raise DataError(f"{path}: holds weights at {', '.join(places)}; say with `key` (--key) which")
    names = shown(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
    raise DataError(f"{path}: holds {names}, no names with tensors")


def _places(content: Any, place: str = "") -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Give the place and the weights of each dictionary of names and tensors; depth first."""
    if not isinstance(content, Mapping) or not content:
        return
    parts = {name: part for name, part in content.items() if isinstance(name, str)}
    if len(parts) == len(content) and all(isinstance(part, Tensor) for part in parts.values()):
        yield place, parts
        return
    for name, part in parts.items():
        yield from _places(part, f"{place}.{name}" if place else name)
