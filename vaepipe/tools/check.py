"""Whether a study's configuration can be run: the first mistake, or the keys that have no effect.

    vaepipe check --configfile my.yaml --directory my-study

Snakemake reads the files before this package does: it does not name a file that is missing, empty or no YAML.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

from vaepipe.storage.errors import DataError, run_stage
from vaepipe.study.files import read_config
from vaepipe.study.kept import kept_datasets
from vaepipe.study.mistakes import ConfigError
from vaepipe.study.study import Study
from vaepipe.study.unused import unused_keys

ROOT = Path(__file__).parent.parent.parent


def merge_configs(files: list[Path]) -> dict[str, Any]:
    """Return config.yaml with overlays, merged as the workflow does it.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    try:
        return read_config([ROOT / "config.yaml", *files])
    except ConfigError as error:
        raise DataError(f"--configfile {error}") from error


def read_study(files: list[Path], folder: Path) -> tuple[Study, list[str]]:
    """Return the study of config.yaml and overlays, and a line for each key without effect and for each data
    set whose files are gone.

    Paths in the files start at the study's folder, as in the workflow.

    Raises:
        DataError: a file or a key is wrong.
    """
    given = merge_configs(files)
    try:
        with contextlib.chdir(folder if folder.is_dir() else Path()):
            study = Study(given)
            kept = kept_datasets(study)
    except ConfigError as error:
        raise DataError(f"config: {error}") from error
    return study, [*kept.values(), *unused_keys(given, study)]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a study, as Snakemake has them."""
    parser.add_argument(
        "--configfile", nargs="*", type=Path, default=[], help="overlays of config.yaml, as for snakemake"
    )
    parser.add_argument(
        "--directory", type=Path, default=Path(), help="folder of the study (default: this one)"
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="vaepipe check", description="Check a study's configuration, without starting anything."
    )
    add_options(parser)
    args = parser.parse_args(argv)
    study, unused = read_study(args.configfile, args.directory)
    for line in unused:
        print(f"config: {line}")
    count = len(study.cells)
    print(f"config: can be run: {count} model{'s' if count != 1 else ''} on {', '.join(study.names)}")


if __name__ == "__main__":
    run_stage(main)
