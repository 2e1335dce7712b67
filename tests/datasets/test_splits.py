"""What folders mean: splits, classes, annotations; links; the held-out images of each class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.test_images import encoded, write_files, write_zip
from vaepipe.datasets import folder
from vaepipe.datasets.part import Part, hold_out_tenth
from vaepipe.datasets.splits import find_layout, split_word
from vaepipe.storage.walk import walk
from vaepipe.study.source_digest import source_digest

WORDS = {
    "train": "train",
    "Train": "train",
    "TRAINING": "train",
    "train2017": "train",
    "training_set": "train",
    "TrainSet": "train",
    "01_train": "train",
    "trainA": "train",
    "train_images": "train",
    "imagesTr": "train",
    "trainval": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "Validation-Set": "val",
    "test": "test",
    "Testing": "test",
    "test1": "test",
    "held-out": None,
    "holdout": "test",
    "testB": "test",
    "imagesTs": "test",
    "cat": None,
    "trains": None,
    "contest": None,
    "latest": None,
    "tested": None,
    "training wheels": None,
    "": None,
}


@pytest.mark.parametrize(("word", "split"), WORDS.items())
def test_words_for_splits(word, split):
    assert split_word(word) == split


def names(*folders: str, count: int = 3) -> list[str]:
    return [f"{name}/{i}.png".lstrip("/") for name in folders for i in range(count)]


LAYOUTS = {
    "classes": (("cat", "dog"), None, {"cat", "dog"}, {}),
    "plain": (("train/cat", "train/dog", "test/cat", "test/dog"), ("train", "test"), {"cat", "dog"}, {}),
    "validation is left out": (
        ("train/cat", "val/cat", "test/cat"),
        ("train", "test"),
        {"cat"},
        {"validation part": 3},
    ),
    "validation is held out": (
        ("Training/cat", "Validation/cat"),
        ("Training", "Validation"),
        {"cat"},
        {},
    ),
    "below a folder": (
        ("my/train/cat", "my/test/cat"),
        ("my/train", "my/test"),
        {"my/cat"},
        {},
    ),
    "below the class": (
        ("cat/train", "dog/train", "cat/test", "dog/test"),
        ("cat/train", "cat/test"),
        {"cat", "dog"},
        {},
    ),
    "stray files": (("train/cat", "test/cat", ""), ("train", "test"), {"cat"}, {"beside the splits": 3}),
    "a class called train": (("train", "car", "bus"), None, {"train", "car", "bus"}, {}),
    "masks": (
        ("images", "masks"),
        None,
        {"images"},
        {"annotation beside the images": 3},
    ),
    "ground truth beside splits": (
        ("bottle/train/good", "bottle/test/good", "bottle/test/broken", "bottle/ground_truth/broken"),
        ("bottle/train", "bottle/test"),
        {"good", "broken"},
        {"annotation beside the images": 3},
    ),
    "train_masks": (
        ("train", "train_masks", "test"),
        ("train", "test"),
        {""},
        {"annotation beside the images": 3},
    ),
    "classes mask and no_mask": (("mask", "no_mask"), None, {"mask", "no_mask"}, {}),
    "only masks": (("masks",), None, {"masks"}, {}),
    "domains": (("trainA", "trainB", "testA", "testB"), ("trainA", "testA"), {"A", "B"}, {}),
    "test part without classes": (("train/cat", "train/dog", "test"), ("train", "test"), {""}, {}),
    "nnU-Net": (
        ("imagesTr", "labelsTr", "imagesTs"),
        ("imagesTr", "imagesTs"),
        {""},
        {"annotation beside the images": 3},
    ),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_layouts(case):
    folders, splits, kinds, left_out = LAYOUTS[case]
    layout = find_layout(names(*folders))
    assert set(layout.kinds.values()) == kinds
    assert {reason: len(files) for reason, files in layout.left_out.items()} == left_out
    if splits is None:
        assert not layout.splits
    else:
        for split, place in zip(("train", "test"), splits):
            assert any(file.startswith(place) for file in layout.splits[split])
        others = [file for file in layout.splits["train"] if file.startswith(splits[1])]
        assert not others and len(layout.splits["train"]) + len(layout.splits["test"]) == len(layout.names)


def pictures(count: int, start: int = 0) -> dict[str, bytes]:
    rng = np.random.default_rng(start)
    return {f"{i:02}.png": encoded(rng.integers(0, 256, (8, 8), np.uint8)) for i in range(count)}


def load(path: Path, **options) -> tuple[dict[str, Part], list[str]]:
    parts = folder.load("mine", path, Path(), **options)
    _ = [np.asarray(part.x) for part in parts.values()]
    return parts, parts["train"].report().get("left out", [])


def test_what_was_taken_as_what_is_reported(tmp_path):
    files = {}
    for number, split in enumerate(("Train", "val", "test")):
        for kind in ("a", "b"):
            images = pictures(3, 10 * number + ord(kind))
            files |= {f"{split}/{kind}/{name}": data for name, data in images.items()}
    more = {"notes.txt": b"x", ".DS_Store": b"x", "preview.png": encoded(np.full((8, 8), 9, np.uint8))}
    parts, left_out = load(write_files(tmp_path / "d", files | more), size=None)
    assert parts["train"].class_names == ("a", "b") and list(parts["test"].label) == [0, 0, 0, 1, 1, 1]
    assert left_out == [
        "1 .png (beside the splits)",
        "6 .png (validation part)",
        "1 .txt (not an image by its suffix)",
        "1 without suffix (hidden)",
    ]
    assert parts["train"].report()["splits"] == ["Train → train", "test → test", "val → val"]


# --- links


def tree_of(path: Path) -> list[str]:
    return [file.name for file in walk(path).files]


def test_loops_end_and_each_real_file_is_read_once(tmp_path):
    write_files(tmp_path / "d", pictures(8))
    (tmp_path / "d/all").symlink_to(".")
    (tmp_path / "d/latest").symlink_to(tmp_path / "d", target_is_directory=True)
    (tmp_path / "d/outside").symlink_to("..", target_is_directory=True)
    (tmp_path / "d/again.png").symlink_to("03.png")
    (tmp_path / "d/gone.png").symlink_to("nowhere.png")
    parts, left_out = load(tmp_path / "d", size=None)
    assert sum(len(part.x) for part in parts.values()) == 8
    assert left_out == [
        "1 .png (link to a file that is read already)",
        "1 .png (link to nothing)",
        "3 without suffix (link that leads back to a folder above it)",
    ]
    before = source_digest("folder", tmp_path / "d")
    (tmp_path / "d/another").symlink_to("..", target_is_directory=True)
    assert source_digest("folder", tmp_path / "d") == before


def test_two_folders_that_link_to_each_other_end(tmp_path):
    for name in "abcdef":
        write_files(tmp_path / "d" / name, pictures(2, ord(name)))
    for name in "abcdef":
        for other in "abcdef":
            (tmp_path / "d" / name / f"to_{other}").symlink_to(f"../{other}", target_is_directory=True)
    parts, _ = load(tmp_path / "d", size=None)
    assert sum(len(part.x) for part in parts.values()) == 12


def test_links_may_make_the_splits(tmp_path):
    write_files(tmp_path / "d/pool", pictures(6))
    for split, some in (("train", "00 01 02"), ("test", "03 04 05")):
        (tmp_path / "d" / split).mkdir()
        for name in some.split():
            (tmp_path / "d" / split / f"{name}.png").symlink_to(f"../pool/{name}.png")
    parts, left_out = load(tmp_path / "d", size=None)
    assert {split: len(part.x) for split, part in parts.items()} == {"train": 3, "test": 3}
    assert left_out == ["6 .png (beside the splits)"]


# --- digests


def test_only_the_content_that_is_read_decides_a_digest(tmp_path):
    path, cache = write_files(tmp_path / "d", pictures(4)), tmp_path / "cache.json"
    first = source_digest("folder", path, cache)
    assert first and first == source_digest("folder", path) == source_digest("folder", path.resolve(), cache)
    (path / ".DS_Store").write_bytes(b"x")
    (path / "Thumbs.db").write_bytes(b"x")
    (path / "notes.txt").write_text("x")
    os.utime(path / "00.png", (1, 1))
    assert source_digest("folder", path, cache) == first
    path.rename(tmp_path / "e")
    assert source_digest("folder", tmp_path / "e", cache) == first
    changed = (tmp_path / "e/00.png").read_bytes()
    (tmp_path / "e/00.png").write_bytes((tmp_path / "e/01.png").read_bytes())
    assert source_digest("folder", tmp_path / "e", cache) != first
    (tmp_path / "e/00.png").write_bytes(changed)
    assert source_digest("folder", tmp_path / "e", cache) == first
    (tmp_path / "e/00.png").rename(tmp_path / "e/z.png")
    assert source_digest("folder", tmp_path / "e", cache) != first
    assert source_digest("folder", tmp_path / "gone", cache) == source_digest("folder", None) == ""


def test_a_digest_of_an_archive_is_that_of_its_content(tmp_path):
    path = write_zip(tmp_path / "d.zip", pictures(3))
    first = source_digest("folder", path, tmp_path / "cache.json")
    os.utime(path, (1, 1))
    assert source_digest("folder", path, tmp_path / "cache.json") == first
    path.write_bytes(path.read_bytes() + b"\0")
    assert source_digest("folder", path, tmp_path / "cache.json") != first


# --- held-out images of each class


def labelled(*sizes: int) -> Part:
    label = np.repeat(np.arange(len(sizes)), sizes)
    return Part(np.arange(len(label), dtype=np.uint8).repeat(64).reshape(-1, 1, 8, 8), label)


@pytest.mark.parametrize("sizes", [(100, 3), (3, 100), (97, 2, 1), (60, 60), (200, 2, 2, 2), (4, 2), (50, 1)])
def test_each_class_of_two_is_in_both_parts(sizes):
    part = labelled(*sizes)
    parts = hold_out_tenth(part)
    n = len(part.x)
    assert len(parts["test"].x) == max(n // 10, min(20, n // 2))
    assert sorted(np.concatenate([parts[s].x[:, 0, 0, 0] for s in parts])) == list(range(n))
    for kind, size in enumerate(sizes):
        held_out = int((parts["test"].label == kind).sum())
        assert (1 <= held_out < size) if size > 1 else held_out <= 1


def test_a_random_choice_that_has_every_class_stays(tmp_path):
    part = labelled(300, 300)
    without = hold_out_tenth(Part(part.x))
    np.testing.assert_array_equal(hold_out_tenth(part)["test"].x, without["test"].x)
