"""From config.yaml to `Settings`: checked, completed with defaults, resolved for each data set.

Every mistake is reported in one line that names the key, the value and what is allowed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vaepipe.attacks.loss import find_loss
from vaepipe.datasets.registry import DATASETS
from vaepipe.figures.registry import FIGURES, own_entry
from vaepipe.models.adapter import find_adapter, split_entry
from vaepipe.models.network import find_network
from vaepipe.models.registry import FAMILIES, NETWORKS
from vaepipe.study.cells import clashes
from vaepipe.study.mistakes import ConfigError, check_schema, suggestion
from vaepipe.study.patterns import STAGES
from vaepipe.study.purifying_models import purifying_models
from vaepipe.study.settings import DatasetSettings, External, Settings
from vaepipe.study.types import Geometric

Config = Mapping[str, Any]

SECTIONS = ("grid", "model", "train", "evaluate", "attack", "ball", "checks")
"""Sections that may differ from data set to data set."""


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
    for purifier, path in purifying_models(settings.checks.purifiers).items():
        if not path.is_file():
            raise ConfigError(f"datasets.{name}.checks.purifiers: {purifier!r}: no such model")
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
