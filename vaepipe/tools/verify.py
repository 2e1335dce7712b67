"""Verify that HDF5 files, weights and tables of the results are as they were written; name those that are
not.

python -m vaepipe.tools.verify [--directory my-study] [--delete]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import h5py

from vaepipe.storage.checksums import SUMS_FILE, matches_h5_digest, matches_sums
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.weights import read_weights


def find_damaged(folder: Path) -> list[tuple[Path, str]]:
    """Return (file, what is wrong with it) of results and checkpoints of a study, and of what killed jobs
    left there."""
    damaged = []
    for path in sorted(path for path in (folder / "results").rglob("*") if path.is_file()):
        if path.name.startswith(".") and ".tmp" in path.suffixes:
            damaged.append((path, "left by a job that was killed, or still being written"))
        elif fault := _find_fault(path):
            damaged.append((path, fault))
    return damaged


def _find_fault(path: Path) -> str | None:
    """Return what is wrong with a file, or None."""
    try:
        if path.suffix == ".h5":
            h5py.File(path, "r", locking=False).close()
            return None if matches_h5_digest(path) else "its digest differs"
        if path.suffix == ".safetensors":
            read_weights(path)
        return None if matches_sums(path) else f"differs from {SUMS_FILE} beside it"
    except DataError as error:
        return str(error).removeprefix(f"{path}: ").partition(";")[0]
    except OSError as error:
        return f"not readable ({str(error).splitlines()[0]})"


def main(argv: list[str] | None = None) -> None:
    """The command line. The exit code is 1 if files are damaged and not deleted."""
    parser = argparse.ArgumentParser(
        prog="python -m vaepipe.tools.verify", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--directory", type=Path, default=Path(), help="folder of the study (default: this one)"
    )
    deletion = "delete the named files, when no job runs; snakemake makes them again"
    parser.add_argument("--delete", action="store_true", help=deletion)
    arguments = parser.parse_args(argv)
    if not (arguments.directory / "results").is_dir():
        raise DataError(f"--directory {arguments.directory}: has no folder results")
    damaged = find_damaged(arguments.directory)
    for path, fault in damaged:
        if arguments.delete:
            path.unlink()
        print(f"{path}: {fault}{', deleted' if arguments.delete else ''}")
    if not damaged:
        print("every HDF5 file, weights and table is as it was written")
    sys.exit(1 if damaged and not arguments.delete else 0)


if __name__ == "__main__":
    run_stage(main)
