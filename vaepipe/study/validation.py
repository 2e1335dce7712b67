"""From config.yaml to `Settings`: checked, completed with defaults, resolved for each data set.

Every mistake is reported in one line that names the key, the value and what is allowed.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from vaepipe.attacks.loss import find_loss
from vaepipe.datasets.registry import DATASETS
from vaepipe.figures.registry import FIGURES, own_entry
from vaepipe.models.adapter import find_adapter, split_entry
from vaepipe.models.network import find_network
from vaepipe.models.registry import FAMILIES, NETWORKS
from vaepipe.study.cells import clashes
from vaepipe.study.jobs import STAGES
from vaepipe.study.schema import config_schema, resolve
from vaepipe.study.settings import DatasetSettings, External, Settings
from vaepipe.study.types import Geometric

Config = Mapping[str, Any]

SECTIONS = ("grid", "model", "train", "evaluate", "attack", "ball", "checks")
"""Sections that may differ from data set to data set."""
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


def read_settings(config: Config) -> Settings:
    """Return the settings of a study, whose ``datasets`` are those of the study, each with all its sections.

    Args:
        config: the merged content of config.yaml and its overlays.

    Raises:
        ConfigError: naming the first key that is wrong.
    """
    check_schema(config)
    top = {key: value for key, value in config.items() if key not in (*SECTIONS, "external", "datasets")}
    settings = Settings.model_validate(top)
    check_names(settings.study, config.get("datasets", {}))
    check_own_figures(settings.plot.figures)
    datasets = {name: read_dataset(name, config) for name in settings.study}
    external = {
        name: read_external(name, given, datasets) for name, given in config.get("external", {}).items()
    }
    return settings.model_copy(update={"datasets": datasets, "external": external})


def check_own_figures(figures: Mapping[str, str]) -> None:
    """Raise `ConfigError` for a figure of the user's own that cannot be drawn."""
    for name, path in figures.items():
        if name in FIGURES:
            raise ConfigError(f"plot.figures.{name}: a figure of this package has that name; choose another")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ConfigError(f"plot.figures.{name}: expected a name of letters, digits, _ and -")
        try:
            own_entry(path)
        except ValueError as error:
            raise ConfigError(f"plot.figures.{name}: {error}") from error


# --- keys and values ---


@cache
def _validator() -> jsonschema.Draft202012Validator:
    """Return a validator that takes neither true nor 4.0 for an integer."""
    strict = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    return jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=strict)(config_schema())


def check_schema(config: Config) -> None:
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
        text += f" like {node['pattern'].strip('^$')}"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}
    return text + "".join(f" {sign} {node[bound]:g}" for bound, sign in signs.items() if bound in node)


def _allowed_list(node: dict[str, Any]) -> str:
    items = allowed(node["items"])
    if node.get("minItems") == node.get("maxItems", 0):
        return f"a list of {node['minItems']}, each {items}"
    few = "a non-empty list" if node.get("minItems") else "a list"
    return f"{few}{' without duplicates' if node.get('uniqueItems') else ''}, each {items}"


# --- paths ---


def normal_path(path: str) -> str:
    """Return one spelling of a path: relative if it is below the study's folder, otherwise absolute.

    ``~`` is the user's home. Links stay as they are.
    """
    absolute = Path(os.path.abspath(Path(path).expanduser()))
    here, seen_as = (
        Path.cwd(),
        Path(os.environ.get("PWD", "")),
    )  # PWD keeps the links in the folder's own path
    same = seen_as.is_absolute() and seen_as.exists() and seen_as.samefile(here)
    for base in (here, seen_as) if same else (here,):
        if absolute.is_relative_to(base):
            return str(absolute.relative_to(base))
    return str(absolute)


def prepared_file(dataset: str) -> Path:
    """Return where the stage prepare writes a data set."""
    return Path(STAGES["prepare"].outputs["data"].format(dataset=dataset))


# --- data sets ---


def check_names(names: Iterable[str], own: Config) -> None:
    """Raise `ConfigError` for a data set that is in no registry and has no kind that is."""
    for key, listed in (("study: {!r} is not a data set", names), ("datasets.{}: unknown", own)):
        for name in listed:
            kind, known = own.get(name, {}).get("kind", name), ", ".join(DATASETS)
            if kind in DATASETS:
                continue
            similar = suggestion(str(kind), DATASETS)
            if kind != name:
                raise ConfigError(
                    f"datasets.{name}.kind: {kind!r} is not a data set; known: {known}{similar}"
                )
            known += "; a name of your own needs a kind, such as folder"
            raise ConfigError(f"{key.format(name)}; known: {known}{similar}")


def read_dataset(name: str, config: Config) -> DatasetSettings:
    """Return the settings of one data set.

    The value of a key is the one under ``datasets.<name>``, or else at the top, or else in the registry, or
    else the default of the section's class.
    """
    own = config.get("datasets", {}).get(name, {})
    if own.get("path"):
        own = {**own, "path": normal_path(own["path"])}
    kind = own.get("kind", name)
    info = DATASETS[kind]
    sections: dict[str, dict[str, Any]] = {
        section: {
            key: value
            for layer in (info.defaults, config, own)
            for key, value in layer.get(section, {}).items()
        }
        for section in SECTIONS
    }
    if not info.images:
        sections["attack"]["losses"] = sections["ball"]["losses"] = []
    lambdas = sections["attack"].get("lambdas")
    if isinstance(lambdas, dict):
        grid = Geometric.model_validate(lambdas)
        if grid.log2_min > grid.log2_max:
            rule = f"log2_min {grid.log2_min:g} is above log2_max {grid.log2_max:g}"
            raise ConfigError(f"attack.lambdas: {rule}")
    settings = DatasetSettings.model_validate(own | sections | {"kind": kind})
    check_source(name, settings)
    check_sections(name, settings)
    return settings


def check_source(name: str, settings: DatasetSettings) -> None:
    """Raise `ConfigError` for a file, a checksum or an option that the data set's kind cannot have."""
    info, path = DATASETS[settings.kind], settings.path
    for key in settings.options:
        if key not in info.options:
            takes = ", ".join(("path", "checksum", *info.options))
            value = getattr(settings, key)
            raise ConfigError(
                f"datasets.{name}.{key}: {value!r} is not allowed; {settings.kind} takes {takes}"
            )
    if path and info.generated:
        raise ConfigError(
            f"datasets.{name}.path: {path!r} is not allowed; {settings.kind} is generated, expected null"
        )
    is_gone = path and not Path(path).exists()
    is_kept = is_gone and prepared_file(name).exists()  # nothing needs the files, see `vaepipe.study.kept`
    if is_gone and not is_kept:
        raise ConfigError(
            f"datasets.{name}.path: {path!r} does not exist; give the file or folder of the data"
        )
    if not path and info.own and info.options:
        raise ConfigError(
            f"datasets.{name}.path: None is not allowed; expected the file or folder of your images"
        )
    if settings.checksum and not is_kept and not (path and Path(path).is_file()):
        raise ConfigError(
            f"datasets.{name}.checksum: {settings.checksum!r} is not allowed; it needs a path to one file"
        )


def check_sections(name: str, settings: DatasetSettings) -> None:
    """Raise `ConfigError` for settings of a data set that do not fit each other."""
    network, ball = settings.model.network, settings.ball
    if find_network(network).needs_images and not DATASETS[settings.kind].images:
        usable = " or ".join(other for other in NETWORKS if not find_network(other).needs_images)
        rule = f"{network!r} needs images; {name} has points: use {usable}"
        raise ConfigError(f"datasets.{name}.model.network: {rule}")
    train = settings.train
    if train.steps and (late := [step for step in train.snapshots if step >= train.steps]):
        rule = f"{late[0]} is not allowed; expected less than train.steps, {train.steps}"
        raise ConfigError(f"datasets.{name}.train.snapshots: {rule}")
    if ball.losses and not ball.l2 + ball.linf:
        raise ConfigError(
            f"datasets.{name}.ball: l2 and linf are [], but there are losses; expected a radius in either"
        )
    untargeted = [loss for loss in ball.losses if not find_loss(loss).has_target]
    if untargeted and not ball.restarts:
        rule = f"0 is not allowed with {untargeted[0]}; expected an integer ≥ 1"
        raise ConfigError(f"datasets.{name}.ball.restarts: {rule}")
    if "hmc" in settings.checks.purifiers and not settings.checks.mcmc_steps:
        raise ConfigError(f"datasets.{name}.checks.purifiers: 'hmc' needs checks.mcmc_steps, which is 0")
    for key, values in (("grid.betas", settings.grid.betas), ("attack.lambdas", settings.attack.lambdas)):
        if same := clashes(list(values)):
            rule = f"two values are both written {same[0]} in paths; let them differ in eight digits"
            raise ConfigError(f"datasets.{name}.{key}: {rule}")


# --- models trained elsewhere ---


def read_external(name: str, given: Config, datasets: Mapping[str, DatasetSettings]) -> External:
    """Return the settings of one model that was trained elsewhere; its code and weights are not loaded."""
    given = {**given, "weights": normal_path(given["weights"])}
    library = split_entry(given["entry"])
    place, colon, function = given["entry"].rpartition(":")
    if library is not None:
        place, path = library[0], normal_path(library[1])
        given["entry"] = f"{place}:{path}"
        given.setdefault("range", find_adapter(place).range)
        if not Path(path).exists():
            raise ConfigError(f"external.{name}.entry: {path!r} does not exist; expected what it saved")
    elif place.endswith(".py"):
        given["entry"] = f"{normal_path(place)}{colon}{function}"
    key, model = f"external.{name}", External.model_validate(given)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", str(name)) or name in FAMILIES:
        rule = f"expected letters, digits, - . _ and none of {', '.join(FAMILIES)}"
        raise ConfigError(f"external: {name!r} is not allowed as a name; {rule}")
    images = [known for known, settings in datasets.items() if DATASETS[settings.kind].images]
    if model.dataset not in images:
        rule = f"expected a data set of images in `study`: {', '.join(images) or 'none'}"
        rule += suggestion(model.dataset, images)
        raise ConfigError(f"{key}.dataset: {model.dataset!r} is not allowed; {rule}")
    if not Path(model.weights).is_file():
        raise ConfigError(f"{key}.weights: {model.weights!r} is not a file")
    if library is None and (not place or not function.isidentifier()):
        raise ConfigError(
            f"{key}.entry: {model.entry!r}; "
            "expected file.py:function, package.module:function or library:path"
        )
    if place.endswith(".py") and not Path(place).is_file():
        raise ConfigError(f"{key}.entry: {place!r} is not a file")
    if model.range[0] >= model.range[1]:
        raise ConfigError(f"{key}.range: {given['range']}; expected the lower end first")
    check_losses(key, model, datasets[model.dataset])
    return model


def check_losses(key: str, model: External, settings: DatasetSettings) -> None:
    """Raise `ConfigError` for a loss that the model names and its data set has not."""
    known = list(dict.fromkeys(settings.attack.losses + settings.ball.losses))
    if model.losses != "all" and (absent := [loss for loss in model.losses if loss not in known]):
        rule = f"attack.losses and ball.losses of {model.dataset} have {', '.join(known) or 'none'}"
        raise ConfigError(f"{key}.losses: {absent[0]!r} is not allowed; {rule}")
