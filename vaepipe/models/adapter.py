"""Models of other libraries: what an adapter is, and the registry of them. Imports without torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaepipe.storage.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

ADAPTERS: tuple[str, ...] = ("diffusers", "pythae", "compressai")
"""Names of the files in ``vaepipe/models/adapters``."""
SHOWN = 5
"""Names of each kind that an error message lists."""


@dataclass(frozen=True)
class Adapter:
    """Brings the models of one library, as ``name:PATH``; ``vaepipe/models/adapters/<name>.py`` holds one.

    Attributes:
        name: before the colon.
        build: (path, weights) → an object with ``posterior`` and ``decode``, in eval mode.
        weights: path → (file of the weights, place of the weights in it or None), as of ``external``.
        range: lowest and highest value of a pixel that these models take.
        shape: path → (C, H, W) where the files say it, otherwise None.
    """

    name: str
    build: Callable[[Path, dict[str, Tensor]], Any]
    weights: Callable[[Path], tuple[Path, str | None]]
    range: tuple[float, float] = (0.0, 1.0)
    shape: Callable[[Path], tuple[int, ...] | None] = lambda path: None


def split_entry(entry: str) -> tuple[str, str] | None:
    """Return (adapter, path) of an entry such as ``diffusers:sd-vae``; None for functions of users."""
    name, _, path = entry.partition(":")
    return (name, path) if name in ADAPTERS and path else None


def find_adapter(name: str) -> Adapter:
    """Return the adapter of that name; its library must be installed.

    Raises:
        DataError: the library is not installed.
    """
    if importlib.util.find_spec(name) is None:
        raise DataError(f"{name}: this package is not installed; install vaepipe[adapters]")
    return importlib.import_module(f"vaepipe.models.adapters.{name}").ADAPTER


def read_settings(path: Path, name: str) -> dict[str, Any]:
    """Return the JSON file ``name`` in the folder ``path``.

    Raises:
        DataError: there is none, or it is no JSON object.
    """
    import json

    file = path / name
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{file}: no such file; expected the folder that the library saved") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not readable as JSON") from error
    if not isinstance(settings, dict):
        raise DataError(f"{file}: not a JSON object")
    return settings


def load_weights(model: Any, weights: dict[str, Tensor], path: Path) -> Any:
    """Return the module with these weights, in eval mode and without gradients.

    Raises:
        DataError: names are missing or unexpected, the first five of each, or a shape differs.
    """
    expected = model.state_dict()
    missing = [name for name in expected if name not in weights]
    unexpected = [name for name in weights if name not in expected]
    if missing or unexpected:
        raise DataError(f"{path}: {of_another_model(missing, unexpected)}")
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape:
            shapes = f"{tuple(tensor.shape)}; the model has {tuple(expected[name].shape)}"
            raise DataError(f"{path}: weights of another model: {name} is {shapes}")
    model.load_state_dict(weights)
    return model.eval().requires_grad_(False)


def shown(names: Iterable[str]) -> str:
    """Return the first names with commas."""
    names = list(names)
    return ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")


def of_another_model(missing: list[str], unexpected: list[str]) -> str:
    """Return the line about weights whose names are not those of the model: the first ones of each kind."""
    kinds = {"missing": missing, "unexpected": unexpected}
    line = "; ".join(f"{kind} {shown(names)}" for kind, names in kinds.items() if names)
    ends = f".{missing[0]}" if missing else None
    longer = [name for name in unexpected if ends and name.endswith(ends)]
    hint = f"; those at --key {longer[0].removesuffix(ends or '')} have such names" if longer else ""
    return f"weights of another model: {line}{hint}"
