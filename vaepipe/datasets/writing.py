"""Check a data set and write it as one HDF5 file, block by block. `vaepipe.datasets.prepared` reads it."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from vaepipe.datasets.part import FEWEST, LazyImages, Part
from vaepipe.storage.errors import DataError
from vaepipe.storage.h5 import CHUNK_BYTES, bytes_per_row, create_h5

SPLITS = ("train", "test")
CHUNKS_PER_BLOCK = 4
"""HDF5 chunks that one thread reads at once. At most threads + 1 such blocks are in memory."""
SECONDS_BETWEEN_LINES = 10
"""Time between two lines of progress."""
ROW_DIGEST_BYTES = 16
LONGEST_ATTRIBUTE = 3000
"""Bytes of JSON. HDF5 protects texts of up to 4,000 bytes with a checksum."""


def write_parts(
    path: str | Path,
    parts: dict[str, Part],
    attributes: dict[str, Any],
    threads: int = 1,
    check: Callable[[dict[str, np.ndarray]], None] | None = None,
) -> dict[str, Any]:
    """Write the splits of a data set block by block, with the digest of the images. Return what the source
    reports, as it is in the file, too.

    Args:
        attributes: further attributes of the file.
        threads: blocks that are read at a time.
        check: called before the file is finished, with digests (N,16) of the rows of each split; it may
            refuse them.
    """
    train = parts["train"]
    attributes = {**attributes, "shape": train.x.shape[1:], "factor_names": train.factor_names}
    digest = hashlib.sha256()
    rows: dict[str, list[bytes]] = {split: [] for split in SPLITS}
    progress = Progress(sum(len(part.x) for part in parts.values()))
    with create_h5(path, "data", attributes) as file:
        for split in SPLITS:
            for key, (array, description) in _arrays(parts[split]).items():
                digest.update(f"{split}/{key} {array.dtype} {array.shape} {description}".encode())
                blocks = None
                if key == "x":
                    blocks = _watch(_blocks(array, threads), progress, digest, rows[split])
                else:
                    digest.update(np.ascontiguousarray(array).data)
                file.add(f"{split}/{key}", array, description, blocks)
        file.add_attribute("digest", digest.hexdigest())  # of all arrays, with their names, types and shapes
        progress.print_line()
        facts = train.report()
        file.add_attribute("contents", _shortened({split: contents(parts[split]) for split in SPLITS}))
        file.add_attribute("source", _shortened(facts))
        if check:
            check({split: np.frombuffer(b"".join(rows[split]), np.uint8).reshape(-1, 16) for split in SPLITS})
    return facts


def contents(part: Part) -> dict[str, Any]:
    """Return the number of images of a split and of each of its classes."""
    counts: dict[str, Any] = {"images" if part.x.ndim == 4 else "points": len(part.x)}
    if part.label is not None:
        labels, sizes = np.unique(part.label, return_counts=True)
        names = part.class_names or {label: str(label) for label in labels}
        counts["classes"] = {names[label]: int(size) for label, size in zip(labels, sizes)}
    return counts


def _shortened(facts: dict[str, Any]) -> dict[str, Any]:
    """Return facts, or only their numbers if they are too long for an attribute."""
    if len(json.dumps(facts)) <= LONGEST_ATTRIBUTE:
        return facts
    return {
        key: _shortened(value) if isinstance(value, dict) and key in SPLITS else _count(value)
        for key, value in facts.items()
    }


def _count(value: Any) -> Any:
    return f"{len(value)}, see the log" if isinstance(value, (dict, list)) else value


def _arrays(part: Part) -> dict[str, tuple[Any, str]]:
    """Return name → (array, description) of the arrays that are known."""
    images = "images (N,C,H,W), 0..255" if part.x.ndim == 4 else "points (N,D), unscaled"
    factors = f"classes of the generating factors (N,F): {', '.join(part.factor_names)}"
    arrays = {
        "x": (part.x, images),
        "label": (part.label, "class of each image (N,)"),
        "factors": (part.factors, factors),
    }
    return {key: (array, description) for key, (array, description) in arrays.items() if array is not None}


def _watch(
    blocks: Iterator[np.ndarray], progress: Progress, digest: hashlib._Hash, rows: list[bytes]
) -> Iterator[np.ndarray]:
    """Yield the blocks; add them to the digest, add the digest of each row, and count the rows."""
    for block in blocks:
        digest.update(block.data)
        rows += (hashlib.blake2b(row, digest_size=ROW_DIGEST_BYTES).digest() for row in block)
        yield block
        progress.add(len(block))


def _blocks(x: np.ndarray | LazyImages, threads: int) -> Iterator[np.ndarray]:
    """Yield the rows of ``x`` in order, in blocks of whole HDF5 chunks that several threads read."""
    step = CHUNKS_PER_BLOCK * max(1, CHUNK_BYTES // max(1, bytes_per_row(x)))
    waiting: deque = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for start in range(0, len(x), step):
                waiting.append(pool.submit(np.ascontiguousarray, x[start : start + step]))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # after an error nothing more is read
            pool.shutdown(wait=True, cancel_futures=True)


class Progress:
    """Prints rows, rows per second and time left, now and then and at the end."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.start_time = self.line_time = time.monotonic()

    def add(self, rows: int) -> None:
        """Count rows; print a line if the last one was `SECONDS_BETWEEN_LINES` ago."""
        self.done += rows
        if time.monotonic() - self.line_time > SECONDS_BETWEEN_LINES:
            self.print_line()

    def print_line(self) -> None:
        """Print a line."""
        self.line_time = time.monotonic()
        rate = self.done / max(1e-9, self.line_time - self.start_time)
        left = f", {(self.total - self.done) / rate:.0f} s left" if self.done < self.total else ""
        print(f"{self.done} of {self.total} rows, {rate:.0f} per second{left}", flush=True)


def check_parts(name: str, parts: dict[str, Part]) -> None:
    """Refuse a data set that later stages cannot work with.

    Raises:
        DataError: names the data set, the split and what is wrong with it.
    """
    for split, part in parts.items():
        if fault := _find_fault(part):
            raise DataError(f"{name}, {split}: {fault}")
    train, test = parts["train"], parts["test"]
    if train.x.shape[1:] != test.x.shape[1:] or train.x.dtype != test.x.dtype:
        kinds = [f"{part.x.shape[1:]} {part.x.dtype}" for part in (train, test)]
        raise DataError(f"{name}: training and test images differ: {kinds[0]} and {kinds[1]}")
    if _known_arrays(train) != _known_arrays(test):
        raise DataError(f"{name}: training and test parts do not know the same labels and factors")


def _find_fault(part: Part) -> str | None:
    """Return what is wrong with a split, or None."""
    x, label, factors = part.x, part.label, part.factors
    are_images = x.dtype == np.uint8 and x.ndim == 4
    are_points = x.dtype == np.float32 and x.ndim == 2
    if not (are_images or are_points):
        return f"expected images (N,C,H,W) uint8 or points (N,D) float32, found {x.shape} {x.dtype}"
    if not x.size:
        return f"empty, shape {x.shape}"
    if len(x) < FEWEST:
        return f"{len(x)} image only; at least {FEWEST} are needed in each part, to train and to attack"
    if are_points and not np.isfinite(x).all():
        return "points that are not finite"
    for key, array, shape in (
        ("label", label, (len(x),)),
        ("factors", factors, (len(x), len(part.factor_names))),
    ):
        if array is not None and (array.shape != shape or not np.issubdtype(array.dtype, np.integer)):
            return f"expected integers {shape} as {key}, found {array.shape} {array.dtype}"
    return None


def _known_arrays(part: Part) -> tuple[bool, bool, tuple[str, ...]]:
    return part.label is not None, part.factors is not None, part.factor_names
