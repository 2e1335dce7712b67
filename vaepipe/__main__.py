"""The command `vaepipe`: every stage of the workflow and every tool by its name.

vaepipe plan --configfile configs/paper.yaml
vaepipe train --help
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path

from vaepipe import __version__
from vaepipe.storage.errors import run_stage

ROOMS = ("tools", "stages")


def commands() -> dict[str, tuple[str, str]]:
    """Return name → (module, first line of its docstring) of all stages and tools; imports none."""
    known = {}
    for room in ROOMS:
        folder = Path(__file__).parent / room
        for module in sorted(pkgutil.iter_modules([str(folder)]), key=lambda found: found.name):
            tree = ast.parse((folder / f"{module.name}.py").read_text(encoding="utf-8"))
            if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
                summary = (ast.get_docstring(tree) or "").partition("\n")[0]
                known[module.name] = (f"vaepipe.{room}.{module.name}", summary)
    return known


def usage() -> str:
    """Return the help text: tools first, which people call, then stages, which the workflow calls."""
    lines = [f"vaepipe {__version__}: how far a variational autoencoder can be fooled", ""]
    lines += ["usage: vaepipe COMMAND [OPTION ...]        vaepipe COMMAND --help", ""]
    titles = {"tools": "Tools:", "stages": "Stages of the workflow (snakemake calls them):"}
    for room in ROOMS:
        lines.append(titles[room])
        rows = [(name, text) for name, (module, text) in commands().items() if f".{room}." in module]
        lines += [f"  {name:<10} {text}" for name, text in rows]
        lines.append("")
    lines.append("The whole study: make run, or snakemake --cores all. Documentation: README.md, docs/.")
    return "\n".join(lines)


def main() -> None:
    """Run the command that the arguments name; exit with 2 when there is no such command."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help", "help"):
        print(usage())
        return
    if name == "--version":
        print(f"vaepipe {__version__}")
        return
    known = commands()
    if name not in known:
        print(f"vaepipe: {name!r} is not a command; known: {', '.join(known)}", file=sys.stderr)
        sys.exit(2)
    module = importlib.import_module(known[name][0])
    sys.argv = [f"vaepipe {name}", *sys.argv[2:]]
    run: Callable[[], None] = module.main
    run_stage(run)


if __name__ == "__main__":
    main()
