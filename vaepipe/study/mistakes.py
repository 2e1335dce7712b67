"""What is wrong with a configuration, in one line: the key, the value, and what the schema allows."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import jsonschema
import yaml

from vaepipe.study.schema import config_schema, resolve

WORDS = {
    "integer": "an integer",
    "number": "a number",
    "string": "a text",
    "null": "null",
    "object": "a mapping",
    "boolean": "true or false",
}


LARGEST_EXACT = 2.0**53
"""Up to here, a float is written without an exponent if it is an integer."""


class ConfigError(ValueError):
    """A configuration that cannot be run; its text is one line."""


@cache
def _validator() -> jsonschema.Draft202012Validator:
    """Return a validator that takes neither true nor 4.0 for an integer."""
    strict = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    return jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=strict)(config_schema())


def check_schema(config: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for the first key that the schema does not allow."""
    errors = sorted(
        _validator().iter_errors(config), key=lambda e: (len(e.absolute_path), str(e.absolute_path))
    )
    if errors:
        raise ConfigError(explain(errors[0]))
    check_finite(config)


def check_finite(value: Any, key: str = "") -> None:
    """Raise `ConfigError` for a number that is infinite or not a number."""
    if isinstance(value, dict):
        for name, sub in value.items():
            check_finite(sub, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for i, sub in enumerate(value):
            check_finite(sub, f"{key}[{i}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{key}: {value!r} is not allowed; expected a finite number")


def explain(error: jsonschema.ValidationError) -> str:
    """Return a mistake in one line: the key, the value, what is allowed, and a similar name if any."""
    key = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path).lstrip(".")
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema["properties"]
        unknown = next(name for name in error.instance if name not in known)
        full = f"{key}.{unknown}" if key else str(unknown)
        return f"{full}: unknown key; known: {', '.join(known)}{suggestion(str(unknown), known)}"
    text = f"{key or 'config'}: {error.instance!r} is not allowed; expected {allowed(error.schema)}"
    return text + hint(error.instance, error.schema)


def hint(value: Any, node: dict[str, Any]) -> str:
    """Return what a wrong value may have been meant to be, in parentheses; empty if nothing is similar.

    What it says to write is allowed.
    """
    if isinstance(value, bool):
        word = "yes, on or true" if value else "no, off or false"
        if not _is_allowed("no", node):
            return ""
        return f" (YAML reads {word} without quotes as {value}: write it in quotes)"
    if not isinstance(value, (str, int, float)):
        return ""
    for text in _other_spellings(value):
        if _is_allowed(yaml.safe_load(text), node):
            reason = f"YAML reads {value} as text: " if isinstance(value, str) else ""
            return f" ({reason}write {text})"
    return suggestion(value, map(str, node["enum"])) if isinstance(value, str) and "enum" in node else ""


def _other_spellings(value: str | float) -> list[str]:
    """Return how YAML would write what a text or a number may mean: true, false, or a number."""
    if isinstance(value, str) and value.strip().lower() in ("true", "false", "yes", "no", "on", "off"):
        return ["true" if value.strip().lower() in ("true", "yes", "on") else "false"]
    try:
        number = float(value)
    except ValueError:
        return []
    if not math.isfinite(number):
        return []
    short = f"{number:.6e}"
    if float(short) != number:
        short = repr(number) if "." in repr(number) else repr(number).replace("e", ".0e")
    return [str(int(number)), short] if number == int(number) and abs(number) < LARGEST_EXACT else [short]


def _is_allowed(value: Any, node: dict[str, Any]) -> bool:
    """Return whether a node of the schema allows a value."""
    validator: jsonschema.Draft202012Validator = _validator().evolve(schema=resolve(node))
    return bool(validator.is_valid(value))


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return the most similar of the known names as a question, in parentheses; empty if none is similar."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def allowed(node: dict[str, Any]) -> str:
    """Return what a node of the schema allows, in words."""
    node = resolve(node)
    if "anyOf" in node:
        return ", or ".join(allowed(sub) for sub in node["anyOf"])
    if "enum" in node:
        return ("one of " if len(node["enum"]) > 1 else "") + ", ".join(map(str, node["enum"]))
    kinds = node.get("type", "string")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if kinds == ["array"]:
        return _allowed_list(node)
    text = " or ".join(WORDS[kind] for kind in kinds)
    if kinds == ["object"] and "properties" in node:
        text += " with " + ", ".join(node["properties"])
    if "pattern" in node:
        text += " like " + " or ".join(node.get("examples", [node["pattern"].strip("^$")]))
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}
    return text + " and".join(f" {sign} {node[bound]:g}" for bound, sign in signs.items() if bound in node)


def _allowed_list(node: dict[str, Any]) -> str:
    items = allowed(node["items"])
    if node.get("minItems") == node.get("maxItems", 0):
        return f"a list of {node['minItems']}, each {items}"
    few = "a non-empty list" if node.get("minItems") else "a list"
    return f"{few}{' without duplicates' if node.get('uniqueItems') else ''}, each {items}"
