"""What the folders above image files mean: splits, classes, and what is no image of the data set."""

from __future__ import annotations

import os.path
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

TRAIN = ("train", "training", "trn", "tr", "trainval", "imagestr")
VALIDATION = ("val", "valid", "validation", "validate", "vali", "dev", "eval", "publictest")
TEST = ("test", "testing", "tst", "te", "heldout", "holdout", "imagests", "privatetest")
SPLIT_OF = {
    word: split for split, words in (("train", TRAIN), ("val", VALIDATION), ("test", TEST)) for word in words
}
FILLERS = (
    "set",
    "data",
    "dataset",
    "images",
    "image",
    "imgs",
    "img",
    "split",
    "samples",
    "files",
    "part",
    "folder",
)
"""Words beside the one that names a split: ``train_images``, ``test-set``, ``TrainingSet``."""
WITH_LETTER = re.compile(r"^(train|test|val)([AB])$")
"""Splits of two domains, as in ``trainA``, ``trainB``, ``testA``, ``testB``: the letter is the class."""

ANNOTATIONS = (
    *("masks", "groundtruth", "gt", "annotations", "annotation", "annots", "segmentations", "segmentation"),
    *("segmentationclass", "segmentationobject", "trimaps", "labelstr", "labelsts", "gtfine", "gtcoarse"),
    *("segmaps", "labelmaps", "maskimages"),
)
"""Folders that hold annotations wherever images are beside them."""
PERHAPS_ANNOTATIONS = ("mask", "label", "labels", "seg")
"""Folders that hold annotations only beside a folder called images, train or the like: a class may be so
called."""
IMAGES = (
    "images",
    "image",
    "imgs",
    "img",
    "photos",
    "photo",
    "pictures",
    "inputs",
    "input",
    "rgb",
    "jpegimages",
)

IS_ANNOTATION = "annotation beside the images"
BESIDE_SPLITS = "beside the splits"
IS_VALIDATION = "validation part"


@dataclass
class Layout:
    """What the names of a tree mean.

    Attributes:
        splits: "train" and "test" → names in their order; empty if no folder names a split.
        names: all names that are images of the data set, in their order.
        kinds: name → class, the folders above it without the split.
        left_out: reason → names.
        folders: folder → split that it was taken for.
    """

    names: list[str]
    splits: dict[str, list[str]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)


def find_layout(names: Sequence[str]) -> Layout:
    """Return what the folders in the names of images mean.

    Splits are folders at one level, in any letter case, of which one is for training and one for testing or
    validation. Files at other places are then left out. The validation part is left out if there is a test
    part, and is held out otherwise.
    """
    annotations = set(_annotations(names))
    layout = Layout([name for name in names if name not in annotations])
    if annotations:
        layout.left_out[IS_ANNOTATION] = [name for name in names if name in annotations]
    level = _split_level(layout.names)
    if level is None:
        layout.kinds = {name: _kind(name, None) for name in layout.names}
    else:
        _divide(layout, level)
    _shorten(layout.kinds)
    return layout


def split_word(folder: str) -> str | None:
    """Return the split, "train", "val" or "test", that a folder's name means, or None."""
    if match := WITH_LETTER.match(folder):
        return match[1]
    words = [word for word in re.split("[^a-z]+", folder.lower()) if word]
    meant = {split for word in words if (split := _one_word(word))}
    others = [word for word in words if not _one_word(word) and word not in FILLERS]
    if others or not meant:
        return None
    return meant.pop() if len(meant) == 1 else "train" if meant == {"train", "val"} else None


def _one_word(word: str) -> str | None:
    if word in SPLIT_OF:
        return SPLIT_OF[word]
    for filler in FILLERS:
        if word.endswith(filler) and (split := SPLIT_OF.get(word.removesuffix(filler))):
            return split
    return None


def _split_level(names: Sequence[str]) -> int | None:
    """Return the first level of folders at which splits are, 0 the top."""
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    for level in range(max((len(parts) for parts in folders), default=0)):
        found = {split_word(parts[level]) for parts in folders if len(parts) > level}
        if "train" in found and found & {"test", "val"}:
            return level
    return None


def _divide(layout: Layout, level: int) -> None:
    """Set splits and classes, the splits being the folders of a level."""
    places: dict[str | None, list[str]] = {"train": [], "val": [], "test": [], None: []}
    for name in layout.names:
        parts = PurePosixPath(name).parts
        split = split_word(parts[level]) if len(parts) > level + 1 else None
        places[split].append(name)
        if split:
            layout.folders["/".join(parts[: level + 1])] = split
    held_out = "test" if places["test"] else "val"
    layout.splits = {"train": places["train"], "test": places[held_out]}
    if places[None]:
        layout.left_out[BESIDE_SPLITS] = places[None]
    if held_out == "test" and places["val"]:
        layout.left_out[IS_VALIDATION] = places["val"]
    left_out = {name for group in layout.left_out.values() for name in group}
    layout.names = [name for name in layout.names if name not in left_out]
    layout.kinds = {name: _kind(name, level) for name in layout.names}
    if not {layout.kinds[name] for name in layout.splits["test"]} & {
        layout.kinds[name] for name in layout.splits["train"]
    }:  # a test part without classes, or with other ones
        layout.kinds = dict.fromkeys(layout.names, "")


def _kind(name: str, level: int | None) -> str:
    """Return the folders above a file without the one that names the split."""
    parts = PurePosixPath(name).parts[:-1]
    if level is None:
        return "/".join(parts)
    letter = WITH_LETTER.match(parts[level])
    return "/".join((*parts[:level], *((letter[2],) if letter else ()), *parts[level + 1 :]))


def _shorten(kinds: dict[str, str]) -> None:
    """Leave out the folders that all classes have in common."""
    different = set(kinds.values())
    if len(different) < 2:
        return
    common = os.path.commonpath(different) if all(different) else ""
    for name, kind in kinds.items():
        kinds[name] = kind[len(common) :].lstrip("/") or kind if common else kind


def _annotations(names: Sequence[str]) -> list[str]:
    """Return the names below folders of annotations that have images beside them."""
    beside: dict[tuple[str, ...], set[str]] = {}
    for name in names:
        parts = PurePosixPath(name).parts
        for depth in range(len(parts)):
            here = parts[depth] if depth < len(parts) - 1 else ""
            beside.setdefault(parts[:depth], set()).add(here)
    meant = {
        (*above, folder)
        for above, folders in beside.items()
        for folder in folders
        if _is_annotation(folder, folders - {folder})
    }
    found = []
    for name in names:
        parts = PurePosixPath(name).parts
        if any(parts[:depth] in meant for depth in range(1, len(parts))):
            found.append(name)
    return found


def _is_annotation(folder: str, others: set[str]) -> bool:
    """Return whether a folder holds annotations of the images in the folders beside it, "" being files."""
    letters = _letters(folder)
    images = {other for other in others if not _may_annotate(other)}
    if not letters or not images:
        return False
    if letters in ANNOTATIONS:
        return True
    named = any(_letters(other) in IMAGES or split_word(other) for other in images)
    if letters in PERHAPS_ANNOTATIONS:
        return named
    words = re.split("[^a-z]+", folder.lower())  # train_masks beside train
    is_split = any(word in SPLIT_OF for word in words)
    return named and is_split and any(word in (*ANNOTATIONS, *PERHAPS_ANNOTATIONS) for word in words)


def _may_annotate(folder: str) -> bool:
    letters = _letters(folder)
    return letters in ANNOTATIONS or letters in PERHAPS_ANNOTATIONS


def _letters(folder: str) -> str:
    return re.sub("[^a-z]", "", folder.lower())
