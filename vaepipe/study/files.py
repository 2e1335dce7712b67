"""The configuration's files: read strictly, and merged so that a later file wins.

Snakemake reads the same files. It takes the last of two equal keys, and does not name the file of a
mistake.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from vaepipe.study.mistakes import ConfigError
from vaepipe.study.validation import SECTIONS, Config


class _Loader(yaml.SafeLoader):
    """YAML whose mappings have each key once, and texts for keys."""

    path = ""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{self.path}, line {line}: a list or a mapping is not allowed as a key")
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node)
            if not isinstance(key, str):
                rule = f'YAML reads the key {key_node.value} as {key!r}: write "{key_node.value}"'
                raise ConfigError(f"{self.path}, line {line}: {rule}")
            if key in lines:
                rule = f"the key {key!r} is there twice, first in line {lines[key]}; write one of them"
                raise ConfigError(f"{self.path}, line {line}: {rule}")
            lines[key] = line
        return super().construct_mapping(node, deep)


def read_file(path: str | Path) -> dict[str, Any]:
    """Return the content of one file of the configuration, YAML or JSON.

    Raises:
        ConfigError: one line that names the file, and the line if one is wrong.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text in UTF-8; save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    content = _read_json(path, text) if text.lstrip().startswith("{") else None
    content = _read_yaml(path, text) if content is None else content
    if content is None:
        raise ConfigError(f"{path}: is empty; write at least one key, such as `study: [digits]`")
    if not isinstance(content, dict):
        kind = "a list" if isinstance(content, list) else repr(content)
        raise ConfigError(f"{path}: expected keys such as `study: [digits]`, found {kind}")
    return content


def _read_yaml(path: str | Path, text: str) -> Any:
    try:
        loader = _Loader(text)
        loader.path = str(path)
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}, line {mark.line + 1}" if mark else str(path)
        reason = " ".join(str(error.problem or error.context).split())
        rule = "; indent with blanks, not with tabs" if "\\t" in reason else ""
        raise ConfigError(f"{place}: not a readable YAML file: {reason}{rule}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: not a readable YAML file: {reason}") from error


def _read_json(path: str | Path, text: str) -> Any:
    """Return the content of a JSON file, or None if it is none, such as YAML that begins with a brace."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise ConfigError(f"{path}: the key {key!r} is there twice; write one of them")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError:
        return None


def merge_layers(layers: Iterable[Config]) -> dict[str, Any]:
    """Return one configuration from those of several files, in the order in which they are given.

    Mappings are merged, lists replaced. A key of a section at the top of a later file beats the same key that
    an earlier file has under ``datasets.<name>``.
    """
    config: dict[str, Any] = {}
    for layer in layers:
        for section in SECTIONS:
            for key in _mapping(layer.get(section)):
                for own in _mapping(config.get("datasets")).values():
                    _mapping(_mapping(own).get(section)).pop(key, None)
        _update(config, layer)
    return config


def read_config(paths: Iterable[str | Path], last: Config | None = None) -> dict[str, Any]:
    """Return the configuration of several files.

    Args:
        paths: later files win.
        last: keys that beat those of all files, from Snakemake's option ``--config``; Snakemake leaves the
            values in a mapping or a list as text.

    Raises:
        ConfigError: the first mistake in a file.
    """
    typed = {key: value if isinstance(value, str) else _typed(value) for key, value in (last or {}).items()}
    return merge_layers([*map(read_file, paths), typed])


def _typed(value: Any) -> Any:
    """Return a value whose texts are read as YAML reads them."""
    if isinstance(value, Mapping):
        return {key: _typed(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_typed(part) for part in value]
    return yaml.safe_load(value) if isinstance(value, str) else value


def _mapping(value: Any) -> dict[str, Any]:
    """Return the value if it is a mapping, otherwise an empty one: values are checked later."""
    return value if isinstance(value, dict) else {}


def _update(config: dict[str, Any], layer: Config) -> None:
    """Merge a layer into a configuration; what it holds is copied."""
    for key, value in layer.items():
        if not isinstance(value, Mapping):
            config[key] = list(value) if isinstance(value, tuple) else value
            continue
        if not isinstance(config.get(key), dict):
            config[key] = {}
        _update(config[key], value)
