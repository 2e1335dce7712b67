"""Stage prepare: a data set's files, or its generator, become one HDF5 file that all later stages read.

python -m vaepipe.prepare --spec '{"dataset": "digits", "path": null}' --out results/data/digits.h5
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np

from vaepipe import provenance
from vaepipe.datasets import DATASETS
from vaepipe.datasets.files import check
from vaepipe.datasets.part import Part
from vaepipe.store import DataError, run_stage, write_h5


def prepare(spec: dict, out: str | Path, downloads: str | Path = "downloads") -> None:
    """Load a data set, check it and write it; `vaepipe.datasets.files.read_split` reads it back.

    Args:
        spec: ``dataset``, a name in the registry, and ``path``, of files that the user already has, or None.
        out: HDF5 file to write, with ``x``, ``label`` and ``factors``, as far as they are known, in ``train`` and ``test``.
        downloads: folder for what has to be fetched.

    Raises:
        DataError: the data set is unknown, or its files are missing, damaged or not what they should be.
    """
    name, path = spec.get("dataset"), spec.get("path")
    if name not in DATASETS:
        raise DataError(f"{name!r} is not a data set; known: {', '.join(DATASETS)}")
    info = DATASETS[name]
    parts = info.load(name, Path(path) if path else None, Path(downloads))
    check(name, parts)
    train = parts["train"]
    attrs = {
        "dataset": name,
        "about": info.about,
        "licence": info.licence,
        "shape": train.x.shape[1:],
        "factor_names": train.factor_names,
        "spec": spec,
        "code": provenance.code_digest("prepare", f"datasets.{info.module}"),
        "digest": digest(parts),
    }
    write_h5(out, "data", {f"{split}/{key}": value for split in parts for key, value in _arrays(parts[split]).items()}, attrs)


def _arrays(part: Part) -> dict[str, tuple[np.ndarray, str]]:
    """name → (array, description) of what is known."""
    images = "images (N,C,H,W), 0..255" if part.x.ndim == 4 else "points (N,D), unscaled"
    arrays = {
        "x": (part.x, images),
        "label": (part.label, "class of each image (N,)"),
        "factors": (part.factors, f"classes of the generating factors (N,F): {', '.join(part.factor_names)}"),
    }
    return {key: (array, text) for key, (array, text) in arrays.items() if array is not None}


def digest(parts: dict[str, Part]) -> str:
    """SHA-256 of the training images followed by the test images, row by row as they lie in memory."""
    sha = hashlib.sha256()
    for split in ("train", "test"):
        sha.update(np.ascontiguousarray(parts[split].x))
    return sha.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m vaepipe.prepare", description=__doc__.splitlines()[0])
    parser.add_argument("--spec", required=True, help='JSON: {"dataset": name, "path": null or text}')
    parser.add_argument("--out", required=True, help="HDF5 file to write")
    parser.add_argument("--downloads", default="downloads", help="folder for what has to be fetched (default: %(default)s)")
    args = parser.parse_args()
    try:
        spec = dict(json.loads(args.spec))
    except (ValueError, TypeError) as error:
        raise DataError(f"--spec: not a JSON object: {args.spec}") from error
    prepare(spec, args.out, args.downloads)


if __name__ == "__main__":
    run_stage(main)
