"""Data sets whose files are gone, but which were prepared before: nothing needs the files again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vaepipe.study.mistakes import ConfigError
from vaepipe.study.validation import prepared_file

if TYPE_CHECKING:
    from vaepipe.study.study import Study


def kept_datasets(study: Study) -> dict[str, str]:
    """Return data set → one line that says that its prepared file is used, for each whose own files are gone.

    Raises:
        ConfigError: the prepared file was made with other options.
        DataError: the prepared file is damaged.
    """
    return {
        name: f"datasets.{name}.path: {own.path!r} is not there; {prepared_file(name)}, made before, is used"
        for name, own in study.settings.items()
        if own.path and _is_gone(Path(own.path)) and _is_prepared(study, name)
    }


def _is_gone(path: Path) -> bool:
    """Return whether a path leads to nothing, or to an empty folder, such as one where no disk is mounted."""
    return not path.exists() or (path.is_dir() and not os.listdir(path))


def _is_prepared(study: Study, name: str) -> bool:
    path = prepared_file(name)
    if not path.exists():
        return False
    from vaepipe.datasets.prepared import read_spec  # not at the top: a plan seldom needs HDF5

    given, made = study.prepare_spec(name).model_dump(mode="json"), read_spec(path)
    if different := [key for key in ("kind", "checksum", "options") if given[key] != made.get(key)]:
        key = different[0]
        differs = f"{path} has {key} {made.get(key)}, not {given[key]}"
        remedy = "give the files, or set what the prepared data have"
        raise ConfigError(f"datasets.{name}.path: {given['path']!r} is not there, and {differs}; {remedy}")
    return True
