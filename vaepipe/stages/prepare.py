"""Prepare a data set: write its images or points as one HDF5 file for all later stages.

python -m vaepipe.stages.prepare --spec '{"dataset": "digits"}' --out results/data/digits.h5
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vaepipe.datasets.registry import DATASETS
from vaepipe.datasets.sources.fetch import download_folder, verify_checksum
from vaepipe.datasets.writing import check_parts, write_parts
from vaepipe.storage.code_digest import code_digest
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.study.specs import PrepareSpec


def prepare(
    spec: PrepareSpec, out: str | Path, downloads: str | Path | None = None, threads: int = 1
) -> None:
    """Load a data set, check it and write it; `vaepipe.datasets.prepared.read_split` reads it.

    Args:
        spec: the data set: its name, kind, path of the user's files, their checksum and the options of the
            kind.
        out: the HDF5 file to write: ``x``, and ``label`` and ``factors`` if known, in ``train`` and ``test``.
        downloads: folder for downloads; None: `vaepipe.datasets.sources.fetch.download_folder`.
        threads: blocks that are read, decoded and scaled at a time.

    Raises:
        DataError: the kind is unknown, or files are missing, damaged or not what they should be.
    """
    if spec.kind not in DATASETS:
        raise DataError(f"{spec.kind!r} is not a data set; known: {', '.join(DATASETS)}")
    entry = DATASETS[spec.kind]
    path = Path(spec.path) if spec.path else None
    if path:
        verify_checksum(path, spec.checksum, f"datasets.{spec.dataset}.checksum")
    parts = entry.load(spec.dataset, path, Path(downloads or download_folder()), **spec.options)
    check_parts(spec.dataset, parts)
    attributes = {
        "dataset": spec.dataset,
        "about": entry.about,
        "licence": entry.licence,
        "spec": spec.to_json(),
        "code": code_digest("stages.prepare", f"datasets.{entry.module}"),
    }
    write_parts(out, parts, attributes, threads)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m vaepipe.stages.prepare", description=__doc__.splitlines()[0]
    )
    example = 'JSON such as {"dataset": "digits"}; kind, path, checksum and options where needed'
    parser.add_argument("--spec", required=True, help=example)
    parser.add_argument("--out", required=True, help="HDF5 file to write")
    folder = "folder for downloads (default: VAEPIPE_DATA_DIR, or the user's cache)"
    parser.add_argument("--downloads", help=folder)
    parser.add_argument(
        "--threads", type=int, default=1, help="threads that read and decode (default: %(default)s)"
    )
    arguments = parser.parse_args()
    spec = PrepareSpec.from_json(arguments.spec)  # not by argparse, which would hide the reason of an error
    prepare(spec, arguments.out, arguments.downloads, arguments.threads)


if __name__ == "__main__":
    run_stage(main)
