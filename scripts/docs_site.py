"""MkDocs hooks: the pages of the site that are made from the code, the repository and a study's results.

`mkdocs.yml` names this file. The gallery shows the figures of the folder `VAEPIPE_RESULTS`, or of `results`.
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from vaepipe.__main__ import commands
from vaepipe.pages.report import TRUST
from vaepipe.stages.columns import TABLES
from vaepipe.study.jobs import STAGES

ROOT = Path(__file__).parent.parent
RAISED = {"ConfigError", "DataError", "Refused", "SystemExit", "exit"}
ROOMS = {
    "study": "The configuration",
    "datasets": "Data",
    "storage": "Files",
    "models": "Models",
    "attacks": "Attacks",
    "compute": "GPUs and processes",
    "stages": "Stages",
    "tools": "Commands",
}
FOREIGN_WORKER = re.compile(r'<script src="https://unpkg.com/iframe-worker/shim"></script>')
ERRORS = """\
# Error lines

What does an error line want you to do? This page is for everybody who meets one: it lists each line that the
code can print. … stands for a name or a value of yours.

A line says what is wrong and what is allowed. Where one line is not enough, [Questions](faq.md) says what to
do, and [Errors about data](data-errors.md) explains the faults of files and downloads.
"""
COLUMNS = """\
# Columns of the tables

What does each column of a study's tables hold? This page is for readers who work with the tables.
`results/tables/columns.csv` of a study repeats it.
"""
COMMANDS = """\
# Commands

Which commands are there? This page lists them for everybody who works in a terminal. `make help` and
`.venv/bin/vaepipe` print the same lists.
"""
GALLERY = """\
# Gallery

What does each figure look like? This page is for readers who choose a figure: it shows those of one study
with their captions, those first that answer its question. [Read the figures](figures.md) says which to trust.
"""
EMPTY = "`make run`, then `make docs`, put every figure of the default study here."
LINK_OUT = re.compile(r"\[([^\]]+)\]\(\.\./(?!docs/)[^)]*\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and pictures that do not lie in docs/."""
    pages = {
        "columns.md": columns_page(),
        "commands.md": commands_page(),
        "errors.md": errors_page(),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("](docs/", "]("),
    }
    folder = ROOT / os.environ.get("VAEPIPE_RESULTS", "results") / "figures"
    pictures = sorted(folder.rglob("*.png"))
    pages["gallery.md"] = gallery_page(folder, pictures)
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    for picture in pictures:
        place = f"gallery/{picture.relative_to(folder).as_posix()}"
        files.append(File.generated(config, place, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Point links at pages of the site; a file of the repository that is no page keeps its name only."""
    markdown = markdown.replace("](../CONTRIBUTING.md", "](contributing.md")
    return LINK_OUT.sub(r"\1", markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Take the theme's helper for pages opened from a folder from the site, not from another server."""
    local = f"{'../' * page.url.count('/')}assets/file-worker.js"
    return FOREIGN_WORKER.sub(f'<script src="{local}"></script>', output)


def on_post_template(output: str, template_name: str, **_: Any) -> str:
    """Do the same for the page 404, which stands at the top."""
    return FOREIGN_WORKER.sub('<script src="/assets/file-worker.js"></script>', output)


def columns_page() -> str:
    """Return a table of columns for each table that `collect` writes."""
    lines = [COLUMNS]
    files = STAGES["collect"].outputs
    for table, columns in TABLES.items():
        lines += [f"## {table}", "", f"`{files[table]}`", "", "| column | unit | meaning |", "|---|---|---|"]
        meanings = [cell(column.meaning).replace("*", "\\*") for column in columns]
        lines += [f"| `{q.name}` | {q.unit} | {text} |" for q, text in zip(columns, meanings)]
        lines.append("")
    return "\n".join(lines)


def commands_page() -> str:
    """Return the targets of the Makefile and the commands of `vaepipe`, each with its one line."""
    targets = re.findall(r"^([a-z]+):.*## (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    lines = [COMMANDS]
    lines += ["| target | what it does |", "|---|---|"]
    lines += [f"| `make {name}` | {cell(text)} |" for name, text in targets]
    for room, title in (("tools", "Tools"), ("stages", "Stages, which the workflow calls")):
        lines += ["", f"## {title}", "", "| command | what it does |", "|---|---|"]
        found = [(name, text) for name, (module, text) in commands().items() if f".{room}." in module]
        lines += [f"| `vaepipe {name}` | {cell(text)} |" for name, text in found]
    return "\n".join([*lines, ""])


def errors_page() -> str:
    """Return every line with which the package refuses its input, by room, and what to do; … stands for a
    name or a value."""
    lines, advice = [ERRORS], read_advice()
    for room, title in ROOMS.items():
        lines += [f"## {title}", "", "| line | what to do |", "|---|---|"]
        for path in sorted((ROOT / "vaepipe" / room).rglob("*.py")):
            found = dict.fromkeys(raised_texts(ast.parse(path.read_text(encoding="utf-8"))))
            lines += [f"| `{cell(text)}` | {cell(advice[phrase_in(text, advice)])} |" for text in found]
        lines.append("")
    return "\n".join(lines)


def read_advice() -> dict[str, str]:
    """Return phrase of an error line → what to do, in the order in which phrases are looked for."""
    lines = (ROOT / "scripts/advice.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split(" → ") for line in lines if line and not line.startswith("#"))


def phrase_in(text: str, advice: dict[str, str]) -> str:
    """Return the first phrase that an error line holds.

    Raises:
        LookupError: the line has no advice.
    """
    for phrase in advice:
        if phrase in text:
            return phrase
    raise LookupError(f"scripts/advice.txt: no advice for the error line {text!r}")


def raised_texts(tree: ast.AST) -> list[str]:
    """Return the texts of the user-facing errors that a module raises, with … for what is filled in."""
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            text = filled(node.args[0]) if name in RAISED else ""
            if len(re.findall(r"[a-z]{2,}", text)) > 2:
                texts.append(" ".join(text.replace("`", "'").split()))
    return texts


def filled(node: ast.expr) -> str:
    """Return the text of an expression, with … for each value that it fills in."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(filled(value) for value in values)
        case ast.BinOp(left=left, right=right):
            return filled(left) + filled(right)
        case _:
            return "…"


def gallery_page(folder: Path, pictures: list[Path]) -> str:
    """Return a page with each figure above its caption."""
    lines = [GALLERY]
    if not pictures:
        return "\n".join([*lines, EMPTY, ""])
    named = {path.relative_to(folder).with_suffix("").as_posix(): path for path in pictures}
    first = [name for name in TRUST if name in named]
    for name in dict.fromkeys([*first, *named]):
        picture = named[name]
        caption = picture.with_suffix(".md")
        text = caption.read_text(encoding="utf-8").strip() if caption.exists() else ""
        text = re.sub(r"^#+ ", "**", text) if text.startswith("#") else text
        lines += [f"## {name}", "", f"![{name}](gallery/{name}.png)", "", text, ""]
    return "\n".join(lines)


def cell(text: str) -> str:
    """Return a text for a cell of a Markdown table."""
    return text.replace("|", "\\|")
