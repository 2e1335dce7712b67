"""Are HDF5 files, weights and tables of the results as written? Names those that are damaged; --delete: they are made again.

python -m vaepipe.tools.verify [--directory my-study] [--delete]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import h5py

from vaepipe.storage import checksums as integrity
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.weights import read_weights


def damaged(folder: Path) -> list[tuple[Path, str]]:
    """(file, what is wrong with it) for results, checkpoints, and what killed jobs left."""
    found = []
    for path in sorted(path for path in (folder / "results").rglob("*") if path.is_file()):
        if path.name.startswith(".") and ".tmp" in path.suffixes:
            found.append((path, "left by a job that was killed, or still being written"))
        elif fault := _fault(path):
            found.append((path, fault))
    return found


def _fault(path: Path) -> str | None:
    try:
        if path.suffix == ".h5":
            h5py.File(path, "r", locking=False).close()
            return None if integrity.sealed(path) else "its digest differs"
        if path.suffix == ".safetensors":
            read_weights(path)
        return None if integrity.summed(path) else f"differs from {integrity.SUMS} beside it"
    except DataError as error:
        return str(error).removeprefix(f"{path}: ").partition(";")[0]
    except OSError as error:
        return f"not readable ({str(error).splitlines()[0]})"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m vaepipe.tools.verify", description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path(), help="folder of the study (default: this one)")
    parser.add_argument("--delete", action="store_true", help="delete what is named, when no job runs; snakemake makes it again")
    args = parser.parse_args(argv)
    if not (args.directory / "results").is_dir():
        raise DataError(f"--directory {args.directory}: has no folder results")
    found = damaged(args.directory)
    for path, fault in found:
        if args.delete:
            path.unlink()
        print(f"{path}: {fault}{', deleted' if args.delete else ''}")
    if not found:
        print("every HDF5 file, weights and table is as it was written")
    sys.exit(1 if found and not args.delete else 0)


if __name__ == "__main__":
    run_stage(main)
