"""Code of users: entry points, and errors as one line."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vaepipe.models.adapter import find_adapter, of_another_model, split_entry
from vaepipe.storage.digests import file_digest, spec_digest
from vaepipe.storage.errors import DataError
from vaepipe.storage.imported_files import imported_files

OBJECTS: dict[str, Any] = {}
"""Models of this process, by the name after ``object:`` of their entry."""
MAX_MESSAGE_LENGTH = 300
"""Characters of an exception of the user's code that an error message repeats."""


@contextlib.contextmanager
def user_code(entry: str, failure: str, kind: type[DataError] = DataError) -> Iterator[None]:
    """Turn any exception of the user's code into one line that names the code.

    `torch.OutOfMemoryError` passes unchanged, as attacks then try fewer rows.

    Args:
        entry: the entry point.
        failure: what failed, for the message.
        kind: of error to raise.

    Raises:
        DataError: ``entry``, ``failure``, and the type and text of the exception.
    """
    try:
        yield
    except (DataError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        text = _names_of_weights(str(error)) or f"{type(error).__name__}: {error}"
        reason = textwrap.shorten(text, MAX_MESSAGE_LENGTH).rstrip(": ")
        raise kind(f"{entry}: {failure} ({reason})") from error


def _names_of_weights(text: str) -> str:
    """Return what PyTorch says of weights of another model, with the first five names of each kind, or ""."""
    kinds = re.findall(r"(Missing|Unexpected) key\(s\) in state_dict: (.*?)\. *$", text, re.MULTILINE)
    names = {kind: re.findall(r'"([^"]+)"', listed) for kind, listed in kinds}
    return of_another_model(names.get("Missing", []), names.get("Unexpected", [])) if names else ""


def entry_point(entry: str) -> Callable:
    """The function that ``file.py:function`` or ``package.module:function`` names; files lie below the
    working directory. Of ``library:path`` it is the adapter's.

    Raises:
        DataError: the module cannot be imported or has no such function.
    """
    if (library := split_entry(entry)) is not None:
        return partial(find_adapter(library[0]).build, Path(library[1]))
    place, _, name = entry.rpartition(":")
    if place == "object":
        if name not in OBJECTS:
            raise DataError(f"{entry}: lives in the Python process that audited it only")
        return lambda weights: OBJECTS[name]
    with user_code(entry, "could not be imported"):
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location(f"vaepipe_external_{Path(place).stem}", place)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            folder = str(Path(place).resolve().parent)
            if folder not in sys.path:  # the file may import its neighbours, also later, inside functions
                sys.path.insert(0, folder)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
    if not callable(getattr(module, name, None)):
        raise DataError(f"{entry}: {place} has no function {name!r}")
    return getattr(module, name)


def source_digest(entry: str) -> str:
    """Digest of the file that holds an entry point and of the neighbours that it imports.

    Of ``library:path`` it is that of the settings at the path.
    """
    if (library := split_entry(entry)) is not None:
        settings = sorted(Path(library[1]).glob("*.json"))
        return spec_digest([(path.name, file_digest(path)) for path in settings])
    if entry.startswith("object:"):
        return ""
    place = entry.rpartition(":")[0]
    if not place.endswith(".py"):
        entry_point(entry)  # says what is wrong with the module
        place = sys.modules[place].__file__ or ""
    return spec_digest([(path.name, file_digest(path)) for path in imported_files(place)])
