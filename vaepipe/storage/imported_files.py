"""The files of a user's own that a Python file imports: its neighbours, and theirs. Imports without torch."""

from __future__ import annotations

import ast
from pathlib import Path


def imported_files(path: str | Path) -> list[Path]:
    """Return a Python file and all files below its folder that it imports, directly or not, sorted.

    A file that cannot be parsed imports nothing; Python says what is wrong with it when it runs.
    """
    path = Path(path)
    folder, found, waiting = path.parent, set(), [path]
    while waiting:
        file = waiting.pop()
        if file in found or not file.is_file():
            continue
        found.add(file)
        waiting += _neighbours(file, folder)
    return sorted(found)


def _neighbours(file: Path, folder: Path) -> list[Path]:
    """Return the places below ``folder`` where the imports of a file may lie."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return []
    places = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            places += [folder / Path(*alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = file.parents[node.level - 1] if node.level else folder
            base = start / Path(*(node.module or "").split("."))
            places += [base, *(base / alias.name for alias in node.names)]
    parts = [parent for place in places for parent in (place, *place.parents) if folder in parent.parents]
    return [option for part in parts for option in (part.with_suffix(".py"), part / "__init__.py")]
