"""Prepare a data set: write its images or points as one HDF5 file for all later stages.

python -m vaepipe.stages.prepare --spec '{"dataset": "digits"}' --out results/data/digits.h5
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vaepipe.attacks.pairs import choose_pairs
from vaepipe.datasets.part import Part
from vaepipe.datasets.registry import DATASETS
from vaepipe.datasets.sources.fetch import download_folder, verify_checksum
from vaepipe.datasets.writing import check_parts, contents, write_parts
from vaepipe.storage.code_digest import code_digest
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.study.specs import PrepareSpec

MOST_SHOWN = 100
"""Classes that the log names."""


def prepare(
    spec: PrepareSpec,
    out: str | Path,
    downloads: str | Path | None = None,
    threads: int = 1,
    pairs: int | Sequence[Sequence[int]] = 0,
) -> None:
    """Load a data set, check it and write it; `vaepipe.datasets.prepared.read_split` reads it.

    Args:
        spec: the data set: its name, kind, path of the user's files, their checksum and the options of the
            kind.
        out: the HDF5 file to write: ``x``, and ``label`` and ``factors`` if known, in ``train`` and ``test``.
        downloads: folder for downloads; None: `vaepipe.datasets.sources.fetch.download_folder`.
        threads: blocks that are read, decoded and scaled at a time.
        pairs: the number or the list of pairs of held-out images that attacks will ask for; they must exist.
            They do not change the file.

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
        "spec": spec.model_copy(update={"path": None}).to_json(),  # equal data give an equal file
        "code": code_digest("stages.prepare", f"datasets.{entry.module}"),
    }

    def check(rows: dict[str, np.ndarray]) -> None:
        _print_repeated(rows)
        try:  # digests stand for the pixels
            choose_pairs(replace(parts["test"], x=rows["test"]), pairs, seed=0)
        except DataError as error:
            raise DataError(f"{spec.dataset}: {error}") from error

    facts = write_parts(out, parts, attributes, threads, check)
    _print_contents(parts, facts)


def _print_repeated(rows: dict[str, np.ndarray]) -> None:
    """Print how many images occur several times, in the held-out part and in both parts."""
    train, test = ({row.tobytes() for row in rows[split]} for split in ("train", "test"))
    if repeated := len(rows["test"]) - len(test):
        print(f"test: {repeated} images repeat others, pixel by pixel; they are never each other's target")
    if shared := len(train & test):
        print(f"{shared} held-out images are training images, too, pixel by pixel")


def _print_contents(parts: dict[str, Part], facts: dict[str, Any]) -> None:
    """Print what each split holds, and what the source reports."""
    lines = []
    for split, part in parts.items():
        counts = contents(part)
        classes = [f"{name or '(no folder)'} {count}" for name, count in counts.pop("classes", {}).items()]
        number = ", ".join(f"{count} {thing}" for thing, count in counts.items())
        more = f" and {len(classes) - MOST_SHOWN} more" if len(classes) > MOST_SHOWN else ""
        shown = f"; classes: {', '.join(classes[:MOST_SHOWN])}{more}" if classes else ""
        lines.append(f"{split}: {number}{shown}")
    if parts["test"].label is not None and len(np.unique(parts["test"].label)) == 1:
        lines.append("test: one class only, so that the target of an attack is any other image")
    lines += [f"{topic}: {'; '.join(texts)}" for topic, texts in facts.items()]
    for line in lines:
        print(line.encode("utf-8", "backslashreplace").decode())  # names of files may be no Unicode


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m vaepipe.stages.prepare", description=__doc__.splitlines()[0]
    )
    example = 'JSON such as {"dataset": "digits"}; kind, path, checksum and options where needed'
    parser.add_argument("--spec", required=True, help=example)
    own = "file or folder of your own, instead of the spec's path; may be empty"
    parser.add_argument("--path", nargs="?", help=own)
    parser.add_argument("--out", required=True, help="HDF5 file to write")
    folder = "folder for downloads (default: VAEPIPE_DATA_DIR, or the user's cache)"
    parser.add_argument("--downloads", help=folder)
    parser.add_argument(
        "--threads", type=int, default=1, help="threads that read and decode (default: %(default)s)"
    )
    wanted = "pairs that attacks will ask for: a number, or a list such as [[0, 5]] (default: %(default)s)"
    parser.add_argument("--pairs", type=json.loads, default="0", help=wanted)
    arguments = parser.parse_args()
    spec = PrepareSpec.from_json(arguments.spec)  # not by argparse, which would hide the reason of an error
    if arguments.path:
        spec = spec.model_copy(update={"path": arguments.path})
    prepare(spec, arguments.out, arguments.downloads, arguments.threads, arguments.pairs)


if __name__ == "__main__":
    run_stage(main)
