"""Stage prepare: a data set's files, or its generator, become one HDF5 file that all later stages read.

python -m vaepipe.stages.prepare --spec '{"dataset": "digits", "path": null}' --out results/data/digits.h5
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from vaepipe.datasets.part import Part
from vaepipe.datasets.prepared import check
from vaepipe.datasets.registry import DATASETS
from vaepipe.datasets.sources.fetch import cache, verify
from vaepipe.storage import provenance
from vaepipe.storage.errors import DataError, run_stage
from vaepipe.storage.h5 import CHUNK, create_h5, row_bytes

CHUNKS = 4
"""Chunks of the file that one thread reads at once; no more than threads + 1 such blocks are in memory."""
EVERY = 10
"""Seconds between two lines of progress."""


def prepare(spec: dict, out: str | Path, downloads: str | Path | None = None, threads: int = 1) -> None:
    """Load a data set, check it and write it, block by block; `vaepipe.datasets.prepared.read_split` reads it back.

    Args:
        spec: ``dataset``, its name; ``kind``, a name in the registry (where it is missing: the same); ``path``, of files
            that the user already has, or None; ``checksum`` of such a file, optional; options of the kind.
        out: HDF5 file to write, with ``x``, ``label`` and ``factors``, as far as they are known, in ``train`` and ``test``.
        downloads: folder for what has to be fetched; None: `vaepipe.datasets.sources.fetch.cache`.
        threads: how many blocks are read, decoded and scaled at a time.

    Raises:
        DataError: the data set is unknown, or its files are missing, damaged or not what they should be.
    """
    name, path = spec.get("dataset"), spec.get("path")
    kind = spec.get("kind", name)
    if kind not in DATASETS:
        raise DataError(f"{kind!r} is not a data set; known: {', '.join(DATASETS)}")
    info = DATASETS[kind]
    path = Path(path) if path else None
    if path:
        verify(path, spec.get("checksum"), f"datasets.{name}.checksum")
    options = {key: spec[key] for key in info.options if key in spec}
    parts = info.load(name, path, Path(downloads or cache()), **options)
    check(name, parts)
    train = parts["train"]
    attrs = {
        "dataset": name,
        "about": info.about,
        "licence": info.licence,
        "shape": train.x.shape[1:],
        "factor_names": train.factor_names,
        "spec": spec,
        "code": provenance.code_digest("stages.prepare", f"datasets.{info.module}"),
    }
    sha, progress = hashlib.sha256(), Progress(sum(len(part.x) for part in parts.values()))
    with create_h5(out, "data", attrs) as file:
        for split in ("train", "test"):
            for key, (array, text) in _arrays(parts[split]).items():
                blocks = progress.watch(_blocks(array, threads), sha) if key == "x" else None
                file.add(f"{split}/{key}", array, text, blocks)
        file.say("digest", sha.hexdigest())  # of the training images followed by the test images, row by row
    progress.line()


def _arrays(part: Part) -> dict[str, tuple[np.ndarray, str]]:
    """name → (array, description) of what is known."""
    images = "images (N,C,H,W), 0..255" if part.x.ndim == 4 else "points (N,D), unscaled"
    arrays = {
        "x": (part.x, images),
        "label": (part.label, "class of each image (N,)"),
        "factors": (part.factors, f"classes of the generating factors (N,F): {', '.join(part.factor_names)}"),
    }
    return {key: (array, text) for key, (array, text) in arrays.items() if array is not None}


def _blocks(x, threads: int) -> Iterator[np.ndarray]:
    """The rows of ``x`` in blocks of whole chunks, read by several threads, in their order."""
    step = CHUNKS * max(1, CHUNK // max(1, row_bytes(x)))
    waiting: deque = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for start in range(0, len(x), step):
                waiting.append(pool.submit(np.ascontiguousarray, x[start : start + step]))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # after a fault nothing is read any more
            pool.shutdown(wait=True, cancel_futures=True)


class Progress:
    """A line now and then, and one at the end: rows, rows per second, time left."""

    def __init__(self, total: int):
        self.total, self.done, self.begun = total, 0, time.monotonic()
        self.said = self.begun

    def watch(self, blocks: Iterator[np.ndarray], sha) -> Iterator[np.ndarray]:
        for block in blocks:
            sha.update(block)
            yield block
            self.done += len(block)
            if time.monotonic() - self.said > EVERY:
                self.line()

    def line(self) -> None:
        self.said = time.monotonic()
        rate = self.done / max(1e-9, self.said - self.begun)
        left = f", {(self.total - self.done) / rate:.0f} s left" if self.done < self.total else ""
        print(f"{self.done} of {self.total} rows, {rate:.0f} per second{left}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m vaepipe.stages.prepare", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--spec", required=True, help='JSON: {"dataset": name, "path": null or text}; kind, checksum and options where needed'
    )
    parser.add_argument("--out", required=True, help="HDF5 file to write")
    parser.add_argument("--downloads", help="folder for what has to be fetched (default: VAEPIPE_DATA_DIR, or the user's cache)")
    parser.add_argument("--threads", type=int, default=1, help="threads that read and decode (default: %(default)s)")
    args = parser.parse_args()
    try:
        spec = dict(json.loads(args.spec))
    except (ValueError, TypeError) as error:
        raise DataError(f"--spec: not a JSON object: {args.spec}") from error
    prepare(spec, args.out, args.downloads, args.threads)


if __name__ == "__main__":
    run_stage(main)
