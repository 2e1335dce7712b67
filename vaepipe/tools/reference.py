"""Write what is generated from the settings: docs/configuration.md and the schema for editors.

vaepipe reference [--root FOLDER]
"""

from __future__ import annotations

import argparse
import ast
import inspect
from pathlib import Path
from typing import Any

import yaml

from vaepipe.datasets.registry import DATASETS, Dataset
from vaepipe.study import sections, settings, types
from vaepipe.study.mistakes import allowed
from vaepipe.study.schema import config_schema, resolve
from vaepipe.study.validation import SECTIONS

SCHEMA, DOCUMENT = "vaepipe/study/config.schema.yaml", "docs/configuration.md"
WIDTH = 110
INTRODUCTION = """\
# Configuration

Which keys does the configuration have, what does each allow, and which value wins? This page is the reference
for everybody who writes an overlay.

An *overlay* is a YAML file with the keys that differ from `config.yaml`. `make run CONFIG=my.yaml` or
`snakemake --cores all --configfile my.yaml` takes it. Mappings are merged, lists are replaced. Paths start at
the study's folder, and `~` is your home. Write small numbers as `1.0e-3`, because YAML reads `1e-3` as text.
`vaepipe check --configfile my.yaml` names the first mistake in one line.

"Assumption" marks a default that the original paper does not give. `vaepipe reference` makes this page from
`vaepipe/study/sections.py` and `vaepipe/study/settings.py`: edit those files instead.

## What is written where, and what wins

The sections `grid`, `model`, `train`, `evaluate`, `attack`, `ball` and `checks` can stand at the top, for all
data sets, and under `datasets.<name>`, for one. A key can have several values. The one in the lowest row of
this table wins:

| | where a key is written | example |
|---|---|---|
| 1 | nowhere: the default in the table of all keys | `train.clip` is `null` |
| 2 | nowhere, but the data set has a default of its own: table below | `train.epochs` of `swissroll` is 30 |
| 3 | a file, at the top | `train: {epochs: 7}` |
| 4 | the same file, under `datasets.<name>` | `datasets: {digits: {train: {epochs: 9}}}` |
| 5 | a later file, at the top; then under `datasets.<name>` | `--configfile my.yaml later.yaml` |
| 6 | the command line | `--config 'train={epochs: 3}'` |

`config.yaml` is the first file. So a key at the top of your overlay beats the same key that `config.yaml` has
under `datasets.<name>`, and your own `datasets.<name>` beats your own top.

`study`, `device`, `gpu_jobs_per_device`, `data_dir`, `plot` and `external` are for the whole study, at the
top only. `path`, `kind` and the other keys of a source are for one data set, under `datasets.<name>` only.

When the study starts, it names each key without effect in one line, with the reason, such as `train.epochs`
beside `train.steps`. It refuses a key that is not known, and one that stands in a file twice.

Snakemake itself reads the files of `--configfile` first. If such a file is missing, empty or no YAML,
Snakemake's message does not name it. `make run CONFIG=my.yaml`, `vaepipe check` and `vaepipe plan` name the
file and the line.

## Defaults of data sets

A data set with a name of your own has the defaults of its `kind`.

| data set | defaults |
|---|---|
{DATASETS}

## All keys

| key | allowed | default | meaning |
|---|---|---|---|
"""


def meanings() -> dict[str, dict[str, str]]:
    """Return class → key → the text below the key, in one line."""
    texts: dict[str, dict[str, str]] = {}
    for module in (types, sections, settings):
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.ClassDef):
                inherited = [texts.get(base.id, {}) for base in node.bases if isinstance(base, ast.Name)]
                texts[node.name] = {key: text for base in inherited for key, text in base.items()}
                texts[node.name] |= _texts_below_keys(node)
    return texts


def _texts_below_keys(node: ast.ClassDef) -> dict[str, str]:
    """Return key → text of a class body, where the text stands below the annotation of the key."""
    texts = {}
    for key, below in zip(node.body, node.body[1:]):
        match key, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                texts[name] = one_line(text)
    return texts


def one_line(text: str) -> str:
    """Return a text without its line breaks."""
    return " ".join(text.split())


def described_schema() -> dict[str, Any]:
    """Return the schema with the meaning of every key."""
    texts, schema = meanings(), config_schema()
    definitions = {name: _described(node, texts.get(name, {})) for name, node in schema["$defs"].items()}
    return {**_described(schema, texts["Settings"]), "$defs": definitions}


def _described(node: dict[str, Any], texts: dict[str, str]) -> dict[str, Any]:
    """Return a mapping's node with its own description in one line, and those of its keys first."""
    keys = {
        name: ({"description": texts[name]} if name in texts else {}) | key
        for name, key in node["properties"].items()
    }
    return {**node, "description": one_line(node["description"]), "properties": keys}


def schema_text() -> str:
    """Return the schema for editors as YAML."""
    head = "# The schema of config.yaml for editors, generated by `vaepipe reference`.\n"
    return head + yaml.safe_dump(described_schema(), sort_keys=False, allow_unicode=True, width=WIDTH)


def document() -> str:
    """Return docs/configuration.md: what wins, the data sets' defaults, every key as a row of one table."""
    schema, rows = described_schema(), []
    for name, node in schema["properties"].items():
        target = node if "$ref" in node else node.get("additionalProperties")
        if not isinstance(target, dict):
            rows.append(_row(name, node))
            continue
        section = schema["$defs"][target["$ref"].rsplit("/", 1)[1]]
        rows.append(_cells(f"**`{name}`**", "", "", section["description"]))
        prefix, required = (name if "$ref" in node else f"{name}.<name>"), section.get("required", ())
        for key, sub in section["properties"].items():
            if not (name == "datasets" and key in SECTIONS):
                rows.append(_row(f"{prefix}.{key}", sub, _without_default(name, key in required)))
    defaults = [_cells(f"`{name}`", _defaults(info)) for name, info in DATASETS.items()]
    return INTRODUCTION.replace("{DATASETS}", "\n".join(defaults)) + "\n".join(rows) + "\n"


def _defaults(info: Dataset) -> str:
    """Return the defaults of a data set as one writes them in a file."""
    return ", ".join(f"`{section}: {_flow(keys)}`" for section, keys in info.defaults.items())


def _flow(value: object) -> str:
    """Return a value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False).strip()
    return text.removesuffix("...").strip()


def _without_default(section: str, required: bool) -> str:
    """Return what stands in the column of defaults for a key that has none."""
    if required:
        return "required"
    return "none" if section == "datasets" else "the data set's"


def _row(key: str, node: dict[str, Any], absent: str = "") -> str:
    default = absent
    if "default" in node:
        default = f"`{_flow(node['default'])}`"
    return _cells(f"`{key}`", allowed(resolve(node)), default, node["description"])


def _cells(*cells: str) -> str:
    """Return a row of a table in Markdown; a pipe within a cell would end it."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="vaepipe reference", description="Write the generated reference of the settings."
    )
    parser.add_argument(
        "--root", type=Path, default=Path(), help="folder of the repository (default: the current one)"
    )
    args = parser.parse_args(argv)
    for path, text in ((SCHEMA, schema_text()), (DOCUMENT, document())):
        (args.root / path).write_text(text, encoding="utf-8")
        print(args.root / path)


if __name__ == "__main__":
    main()
