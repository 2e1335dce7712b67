"""A user's own image files: a folder, a .zip or a .tar."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaepipe.datasets.part import FEWEST, Part, hold_out_tenth
from vaepipe.datasets.ranges import NEARLY_BLACK, check_range
from vaepipe.datasets.sources.decoding import DEEP, SHALLOW, Notes
from vaepipe.datasets.sources.tree import ImageTree
from vaepipe.datasets.splits import Layout, find_layout
from vaepipe.storage.errors import DataError


def load(
    name: str,
    path: Path | None,
    downloads: Path,
    size: int | None = 64,
    crop: int | None = None,
    channels: int = 3,
    frames: str = "first",
    maximum: int | None = None,
) -> dict[str, Part]:
    """Return square images from the middle of the image files.

    Folders such as ``train`` and ``test`` are the split, see `vaepipe.datasets.splits`; without them one in
    ten images is held out. The folders above an image are its class, if there are at least two.

    Args:
        size, crop, channels, maximum: as `vaepipe.datasets.sources.decoding.decode` takes them.
        frames: "first", or "all" for every frame of files that have several.

    Raises:
        DataError: there are too few images, or one cannot be read.
    """
    if path is None:
        raise DataError(f"{name}: datasets.{name}.path is missing; give a folder, a .zip or a .tar of images")
    tree = ImageTree(path)
    layout = find_layout(tree.names)
    for reason, names in layout.left_out.items():
        tree.leave_out(names, reason)
    names = tree.once(layout.names)
    rows = [frame for file in names for frame in (tree.frames(file) if frames == "all" else [(file, 0)])]
    if len(rows) < 2 * FEWEST:
        _refuse_few(path, tree, rows)
    notes = Notes()
    x = tree.images(rows, channels, crop, size, maximum, notes)

    def report() -> dict[str, Any]:
        _check_ranges(name, path, notes, maximum)
        return _facts(tree, layout, notes, frames)

    kinds, label = np.unique([layout.kinds[file] for file, _ in rows], return_inverse=True)
    classes = tuple(str(kind) for kind in kinds) if len(kinds) > 1 else ()
    part = Part(x, label.astype(np.int64) if classes else None, class_names=classes, report=report)
    if not layout.splits:
        return hold_out_tenth(part)
    return {split: part[_rows(rows, files)] for split, files in layout.splits.items()}


def _rows(rows: Sequence[tuple[str, int]], files: Sequence[str]) -> np.ndarray:
    wanted = set(files)
    return np.flatnonzero(np.array([file in wanted for file, _ in rows]))


def _refuse_few(path: Path, tree: ImageTree, rows: Sequence[tuple[str, int]]) -> None:
    """Refuse too few images, and say where more are."""
    several = sum(len(tree.frames(file)) > 1 for file in {file for file, _ in rows})
    more = [f"left out: {line}" for line in tree.left_out_lines()]
    if several and several == len(rows):
        more.append(f"{several} files have several pages or frames, see frames: all")
    needed = f"at least {2 * FEWEST} are needed, {FEWEST} to train and {FEWEST} to hold out"
    raise DataError("; ".join([f"{path}: {len(rows)} images only; {needed}", *more]))


def _check_ranges(name: str, path: Path, notes: Notes, maximum: int | None) -> None:
    """Refuse images that would be nearly black because white is not what the file's type says."""
    if maximum is None:
        for white in notes.ranges.keys() & {SHALLOW, DEEP}:  # others are named by the files themselves
            low, high = notes.ranges[white]
            limit = None if white == DEEP else max(NEARLY_BLACK, notes.named_white)
            check_range(name, f"{path}: {'16-bit ' if white == DEEP else ''}images", white, low, high, limit)


def _facts(tree: ImageTree, layout: Layout, notes: Notes, frames: str) -> dict[str, Any]:
    """Return what was taken as what, for the log and the file."""
    facts: dict[str, Any] = {}
    if layout.folders:
        shown = sorted(layout.folders.items())[:20]
        facts["splits"] = [f"{folder} → {split}" for folder, split in shown]
        if "val" in layout.folders.values() and "test" not in layout.folders.values():
            facts["splits"].append("no test part: the validation part is held out")
    if lines := tree.left_out_lines():
        facts["left out"] = lines
    if notes.ranges:
        facts["values"] = [
            f"{low} to {high} of {white}" for white, (low, high) in sorted(notes.ranges.items())
        ]
    if notes.frames:
        total, files = sum(notes.frames.values()), len(notes.frames)
        use = "all are read" if frames == "all" else "the first of each is read; frames: all reads every one"
        facts["frames"] = [f"{files} files have several pages or frames, {total} together; {use}"]
    if notes.without_metadata:
        count, first = len(notes.without_metadata), min(notes.without_metadata)
        facts["metadata"] = [f"{count} files read without their metadata, which are damaged, such as {first}"]
    return facts
