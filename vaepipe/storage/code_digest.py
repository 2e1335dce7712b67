"""Digests of code: they change when the results can change, and stay when only the wording does.

A result is made again when the digest of its code changes, see docs/reliability.md. A digest covers modules
and all that they import, but for registries, which are data, `vaepipe.study`, and the modules that make
digests and version records. `vaepipe.storage.code_meaning` says what counts of a module.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from vaepipe.storage.code_meaning import Import, Meaning
from vaepipe.storage.kept_meanings import KeptMeanings

PACKAGE = Path(__file__).parent.parent

ALWAYS = ("compute.rounding",)
"""Modules that `vaepipe/__init__.py` runs in every process."""

SKIPPED = ("storage.code_digest", "storage.code_meaning", "storage.kept_meanings", "storage.provenance")
SKIPPED_ROOM = "study"
SKIPPED_NAME = "registry"

TEXT_ROOMS = ("figures", "claims", "pages")
TEXT_STAGES = ("stages.collect",)
"""Prose counts in the digests of these stages and of all that use one of these rooms: they write texts for
people."""
TEXTLESS_ROOMS = ("storage", "compute")
"""Rooms whose prose never counts: no page or table shows it."""


@cache
def code_digest(*modules: str) -> str:
    """Return 16 hexadecimal digits that identify the code of modules and of all modules of the package that
    they import.

    Imports inside functions count. Modules that are imported by name, such as the loss of an attack, must be
    given.

    Args:
        modules: names below ``vaepipe``, such as ``stages.train`` or ``datasets.digits``.

    Raises:
        ValueError: there is no such module, or a module takes a name from a package with lazy names.
    """
    closure = _closure(modules)
    texts = any(_room(name) in TEXT_ROOMS or name in TEXT_STAGES for name in closure)
    lines = [
        f"{name} {_meaning(name, texts and _room(name) not in TEXTLESS_ROOMS).code}"
        for name in sorted(closure)
    ]
    _kept().save()
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def read_loaded_modules() -> None:
    """Read the modules of the package that this process has loaded, for all digests that it makes later."""
    for name in [name for name in sys.modules if name.startswith("vaepipe.")]:
        _imports(name.removeprefix("vaepipe."))


def clear_caches() -> None:
    """Forget what was read, for tests that edit modules."""
    for function in (code_digest, _kept, _meaning, _imports, _path):
        function.cache_clear()


# --- which modules


def _closure(modules: Iterable[str]) -> set[str]:
    """Return the modules and all that they import, without those that are skipped."""
    closure: set[str] = set()
    queue = [*modules, *ALWAYS]
    while queue:
        name = queue.pop()
        if name not in closure and not _is_skipped(name):
            closure.add(name)
            queue += _imports(name)
    return closure


def _is_skipped(name: str) -> bool:
    return _room(name) == SKIPPED_ROOM or name in SKIPPED or name.rpartition(".")[2] == SKIPPED_NAME


def _room(name: str) -> str:
    return name.partition(".")[0]


@cache
def _path(name: str) -> Path | None:
    """Return the file of a module below ``vaepipe``, or None if there is no such module."""
    if not name:
        return None
    base = os.path.join(PACKAGE, *name.split("."))
    for path in (f"{base}.py", os.path.join(base, "__init__.py")):
        if os.path.isfile(path):
            return Path(path)
    return None


@cache
def _kept() -> KeptMeanings:
    return KeptMeanings()


@cache
def _meaning(name: str, texts: bool) -> Meaning:
    path = _path(name)
    if path is None:
        raise ValueError(f"vaepipe.{name}: no such module")
    return _kept().find(name, path.read_text(encoding="utf-8"), texts)


@cache
def _imports(name: str) -> tuple[str, ...]:
    """Return the modules of the package that a module imports, as names below ``vaepipe``."""
    imported: list[str] = []
    for statement in _meaning(name, False).imports:
        imported += statement.names if statement.module is None else _from_import(name, statement)
    inner = dict.fromkeys(m.removeprefix("vaepipe.") for m in imported if m.startswith("vaepipe."))
    return tuple(module for module in inner if _path(module))


def _from_import(name: str, node: Import) -> Iterator[str]:
    """Yield the modules that ``from package import names`` reads: submodules, and the package for its other
    names; none of another package than this."""
    package = node.module or ""
    if node.level:
        here = ["vaepipe", *name.split(".")]
        depth = len(here) - node.level + (_path(name) or Path()).name.startswith("__init__")
        package = ".".join(filter(None, [*here[:depth], package]))
    if package.partition(".")[0] != "vaepipe":
        return
    for imported in node.names:
        inner = f"{package}.{imported}"
        if _path(inner.removeprefix("vaepipe.")):
            yield inner
        elif _has_lazy_names(package):
            raise ValueError(f"vaepipe.{name}: import {imported} from its own module, not from {package}")
        else:
            yield package


def _has_lazy_names(package: str) -> bool:
    """Return whether a package of ours loads its names when they are asked for (PEP 562)."""
    name = package.removeprefix("vaepipe.")
    if name == package or (path := _path(name)) is None or path.name != "__init__.py":
        return False
    return "\ndef __getattr__(" in _meaning(name, False).code
