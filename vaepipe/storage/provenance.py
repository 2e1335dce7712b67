"""Where a file comes from: digest of the code that made it, versions, git revision."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.metadata
import json
import os
import subprocess
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
LIBRARIES = ("numpy", "torch", "h5py", "scikit-learn", "snakemake")


def code_digest(*modules: str) -> str:
    """Digest of the code of modules of this package and of all they import from it.

    It is taken from the syntax trees without docstrings, so that comments, layout and the files' dates do not count.
    Imports inside functions count; modules that a registry imports by name must be given by the caller.

    Args:
        modules: names below ``vaepipe``, such as ``train`` or ``datasets.digits``.
    """
    seen: set[str] = set()
    stack = list(modules)
    while stack:
        name = stack.pop()
        if name not in seen:
            seen.add(name)
            stack += _imports(name)
    digest = hashlib.sha256("\n".join(f"{name} {_code(name)}" for name in sorted(seen)).encode())
    return digest.hexdigest()[:16]


def spec_digest(spec) -> str:
    """Digest of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(path: str | Path) -> str:
    """Digest of the names, sizes and dates of all files below a folder."""
    digest = hashlib.sha256()
    for top, folders, files in os.walk(path, followlinks=True):
        folders.sort()
        for file in sorted(files):
            with contextlib.suppress(OSError):  # gone meanwhile, or a link to nowhere
                found = os.stat(os.path.join(top, file))
                digest.update(os.fsencode(f"{os.path.relpath(top, path)}/{file}\0{found.st_size}\0{found.st_mtime_ns}\0"))
    return digest.hexdigest()[:16]


def record() -> dict[str, str]:
    """Versions of what computes, and the git revision if the package lies in a repository."""
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"versions": json.dumps(versions), "git": _git_revision()}


@cache
def _git_revision() -> str:
    try:
        command = ["git", "-C", str(PACKAGE.parent), "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _file(name: str) -> Path | None:
    base = PACKAGE.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse(_file(name).read_text(encoding="utf-8"))


@cache
def _code(name: str) -> str:
    tree = _tree(name)
    for node in ast.walk(tree):
        if isinstance(getattr(node, "body", None), list):
            node.body = [child for child in node.body if not _is_text(child)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_text(node: ast.stmt) -> bool:
    """A docstring, of a module, class, function or attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def _imports(name: str) -> list[str]:
    found = []
    for node in ast.walk(_tree(name)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    inner = [module.removeprefix("vaepipe.") for module in found if module.startswith("vaepipe.")]
    return [module for module in inner if _file(module)]
