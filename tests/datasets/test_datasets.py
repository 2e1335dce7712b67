"""Data sets: what each loader gives, what it refuses and in which words, and the stage that writes them."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import run_stage

from vaepipe.datasets.part import Part, hold_out
from vaepipe.datasets.prepared import read_digest, read_split
from vaepipe.datasets.registry import DATASETS
from vaepipe.datasets.writing import check_parts, write_parts
from vaepipe.stages import prepare as stage
from vaepipe.storage import errors
from vaepipe.storage.errors import DataError
from vaepipe.storage.h5 import open_h5, read_text
from vaepipe.study.specs import PrepareSpec

ROOT = Path(__file__).parent.parent.parent
REAL = Path(os.environ.get("VAEPIPE_SHARED_DATA") or ROOT / "../shared/data")

# name: shape of one row, dtype, training rows, test rows, classes of the label, classes of each factor
MADE_HERE = {
    "swissroll": ((3,), np.float32, 9000, 1000, 0, ()),
    "digits": ((1, 8, 8), np.uint8, 1437, 360, 10, ()),
    "sprites": ((1, 64, 64), np.uint8, 10520, 1000, 0, (3, 6, 10, 8, 8)),
}


def load(name: str, path: Path | None = None, downloads: Path = Path("nowhere")) -> dict[str, Part]:
    return DATASETS[name].load(name, path, downloads)


def refusal(name: str, path: Path | None = None, downloads: Path = Path("nowhere")) -> str:
    """The one line in which a data set is refused."""
    with pytest.raises(DataError) as caught:
        whole(load(name, path, downloads))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def real(path: str) -> Path:
    """A file or folder of real data; the test is skipped where it is absent."""
    if not (REAL / path).exists():
        pytest.skip(f"no real data: {path} is not in VAEPIPE_SHARED_DATA or ../shared/data")
    return REAL / path


made_here = cache(load)
"""The same for many tests, which leave it as it is."""


def whole(parts: dict[str, Part]) -> Part:
    """Both splits as one part, training first."""
    train, test = parts["train"], parts["test"]
    join = [
        None if a is None else np.concatenate([np.asarray(a), np.asarray(b)])
        for a, b in zip(_arrays(train), _arrays(test))
    ]
    return Part(*join, train.factor_names)


def _arrays(part: Part) -> tuple:
    return part.x, part.label, part.factors


def assert_equal(one: Part, other: Part) -> None:
    for a, b in zip(_arrays(one), _arrays(other)):
        np.testing.assert_array_equal(*(c if c is None else np.asarray(c) for c in (a, b)))
        assert a is None or a.dtype == b.dtype
    assert one.factor_names == other.factor_names


def keys(x: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in x]


# --- data sets made here


@pytest.mark.parametrize("name", MADE_HERE)
def test_shapes(name):
    shape, dtype, n_train, n_test, classes, factors = MADE_HERE[name]
    parts = made_here(name)
    check_parts(name, parts)
    for split, n in (("train", n_train), ("test", n_test)):
        part = parts[split]
        assert part.x.shape == (n, *shape) and part.x.dtype == dtype
        assert classes == (0 if part.label is None else len(np.unique(part.label)))
        assert factors == (() if part.factors is None else tuple(part.factors.max(0) + 1))
        assert len(part.factor_names) == len(factors)
    assert DATASETS[name].images == (len(shape) == 3)


@pytest.mark.parametrize("name", MADE_HERE)
def test_two_loads_are_equal(name):
    first, second = made_here(name), load(name)
    for split in ("train", "test"):
        assert_equal(first[split], second[split])


def test_splits_are_disjoint_and_complete():
    from sklearn.datasets import load_digits, make_swiss_roll

    roll, _ = make_swiss_roll(10_000, noise=0, random_state=0)
    roll[:, 1] -= 10.5
    digits = whole(made_here("digits"))
    assert sorted(keys(whole(made_here("swissroll")).x)) == sorted(keys(roll.astype(np.float32)))
    # With its label and at 16 levels: nothing was lost in the rounding to 0..255
    levels = np.round(digits.x[:, 0] / 255 * 16)
    assert sorted(zip(digits.label, keys(levels))) == sorted(
        zip(load_digits().target, keys(load_digits().images))
    )
    assert digits.x.min() == 0 and digits.x.max() == 255


def test_swiss_roll_lies_as_published():
    x = whole(made_here("swissroll")).x
    np.testing.assert_allclose([x[:, 1].min(), x[:, 1].max()], [-10.5, 10.5], atol=0.05)
    radius = np.hypot(x[:, 0], x[:, 2])
    np.testing.assert_allclose([radius.min(), radius.max()], [1.5 * math.pi, 4.5 * math.pi], rtol=1e-3)


def test_hold_out_keeps_order_and_rows():
    parts = hold_out(Part(np.arange(100), np.arange(100)), 30)
    assert len(parts["test"].x) == 30 and (np.diff(parts["train"].x) > 0).all()
    assert sorted([*parts["train"].x, *parts["test"].x]) == list(range(100))
    np.testing.assert_array_equal(parts["train"].x, parts["train"].label)


# --- sprites, against counts and moments of their pixels


@pytest.fixture(scope="module")
def sprites() -> np.ndarray:
    """(shape, scale, orientation, x, y, row, column) booleans, put in place by the factors alone."""
    part = whole(made_here("sprites"))
    grid = np.full((3, 6, 10, 8, 8, 64, 64), 2, np.uint8)
    grid[tuple(part.factors.T)] = part.x[:, 0] // 255
    assert set(np.unique(part.x)) == {0, 255} and grid.max() == 1, (
        "not binary, or a cell of the grid is missing"
    )
    return grid.astype(bool)


def moments(image: np.ndarray) -> tuple[float, float, float, float]:
    """Area, centroid (column, row), angle of the long axis in [0, π), counter-clockwise, of an image."""
    row, column = np.nonzero(image)
    (cxx, cxy), (_, cyy) = np.cov(column, -row)
    return len(row), column.mean(), row.mean(), 0.5 * math.atan2(2 * cxy, cxx - cyy) % math.pi


def test_sprites_are_all_different(sprites):
    assert len(set(keys(np.packbits(sprites.reshape(-1, 64 * 64), axis=1)))) == 3 * 6 * 10 * 8 * 8


def test_sprites_lie_inside_the_image(sprites):
    edge = np.ones((64, 64), bool)
    edge[1:-1, 1:-1] = False
    assert not sprites[..., edge].any()


@pytest.mark.parametrize("k", range(6))
def test_sprites_have_the_area_of_their_shape(sprites, k):
    scale = 0.5 + 0.1 * k
    side = round(20 * scale)
    square = sprites[0, k, 0, 3, 3]
    row, column = np.nonzero(square)
    assert square.sum() == side**2 == (np.ptp(row) + 1) * (np.ptp(column) + 1)
    for shape, area, perimeter in ((0, 400, 80), (1, math.pi * 14 * 8, 71), (2, math.pi * 12 * 10, 82)):
        drawn = sprites[shape, k, :, 3, 3].sum((1, 2))
        # worst case: the outline runs along diagonals of pixels, half of their spacing √½ too far out or in
        assert np.abs(drawn - area * scale**2).max() < perimeter * scale * math.sqrt(0.5) / 2


@pytest.mark.parametrize("o", range(10))
def test_ellipse_turns_half_a_circle(sprites, o):
    angle = moments(sprites[1, 5, o, 2, 5])[3]
    difference = (angle - math.pi * o / 10 + math.pi / 2) % math.pi - math.pi / 2
    assert abs(difference) < math.radians(2)


def test_square_turns_a_quarter_of_a_circle(sprites):
    corner = 10 * math.sqrt(2)
    for o in range(10):
        angles = math.pi / 4 + math.pi / 2 * (np.arange(4) + o / 10)
        reach = max(corner * np.cos(angles))
        row, column = np.nonzero(sprites[0, 5, o, 4, 4])
        assert abs(np.ptp(column) / 2 + 0.5 - reach) < 1 and abs(np.ptp(row) / 2 + 0.5 - reach) < 1


def test_heart_is_upright_and_symmetric(sprites):
    for k in range(6):
        image = sprites[2, k, 0, 3, 3]
        row, column = np.nonzero(image)
        box = image[row.min() : row.max() + 1, column.min() : column.max() + 1]
        width = box.shape[1]
        assert (box == box[:, ::-1]).all()
        assert box[-1].sum() == 2 and not box[0, width // 2 - 1 : width // 2 + 1].any(), (
            "no tip below or no notch above"
        )
        np.testing.assert_array_equal(sprites[2, k, 5, 3, 3], _turned(image))


def _turned(image: np.ndarray) -> np.ndarray:
    """Half a turn about the middle of position 3, 3: the corner between pixels 29 and 30."""
    turned = np.zeros_like(image)
    turned[:60, :60] = image[:60, :60][::-1, ::-1]
    return turned


def test_position_moves_the_centroid_and_nothing_else(sprites):
    for shape, k, o in ((0, 0, 0), (1, 3, 7), (2, 5, 4)):
        cells = sprites[shape, k, o]
        found = np.array([[moments(cells[x, y])[:3] for y in range(8)] for x in range(8)])
        step = 4 * np.arange(8)
        np.testing.assert_allclose(found[..., 0], found[0, 0, 0])
        np.testing.assert_allclose(found[..., 1], found[0, 0, 1] + np.broadcast_to(step[:, None], (8, 8)))
        np.testing.assert_allclose(found[..., 2], found[0, 0, 2] + np.broadcast_to(step, (8, 8)))


# --- dSprites


class Trap:
    """Unpickling this makes the file ``path``."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def crafted_dsprites(folder: Path, suffix: str, n: int = 40, **changed) -> Path:
    """A small file in the layout of the official one, with classes from all over the original grid."""
    rng = np.random.default_rng(0)
    imgs = rng.integers(0, 2, (n, 64, 64), dtype=np.uint8)
    classes = rng.integers(0, (1, 3, 6, 40, 32, 32), (n, 6))
    data = {"imgs": imgs, "latents_classes": classes, "latents_values": classes / 1.0, **changed}
    data = {key: value for key, value in data.items() if value is not None}
    path = folder / f"dsprites{suffix}"
    if suffix == ".npz":
        metadata = np.array([Trap(folder / "sprung")], dtype=object)
        np.savez_compressed(path, **data, metadata=metadata)
        assert not (folder / "sprung").exists()
    else:
        with h5py.File(path, "w") as file:
            for key, value in data.items():
                file.create_dataset(key.replace("_", "/"), data=value)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".hdf5"])
def test_dsprites_file(tmp_path, suffix):
    path = crafted_dsprites(tmp_path, suffix)
    with np.load(crafted_dsprites(tmp_path, ".npz")) as file:
        imgs, classes = file["imgs"], file["latents_classes"]
    parts = load("dsprites", path)
    check_parts("dsprites", parts)
    expected = hold_out(
        Part(255 * imgs[:, None], None, classes[:, 1:], ("shape", "scale", "orientation", "x", "y")), 20
    )
    for split in ("train", "test"):
        assert_equal(parts[split], expected[split])
    assert not (tmp_path / "sprung").exists(), "the pickle in the file was opened"


DSPRITES_FAULTS = {
    "no images": ({"imgs": None}, "damaged, or not dSprites"),
    "no classes": ({"latents_classes": None}, "damaged, or not dSprites"),
    "grey images": ({"imgs": np.full((40, 64, 64), 255, np.uint8)}, "uint8 of 0 and 1"),
    "too few classes": ({"latents_classes": np.zeros((39, 6), int)}, "classes (N,6)"),
    "empty": (
        {"imgs": np.zeros((0, 64, 64), np.uint8), "latents_classes": np.zeros((0, 6), int)},
        "found (0, 64, 64)",
    ),
}


@pytest.mark.parametrize("suffix", [".npz", ".hdf5"])
@pytest.mark.parametrize("fault", DSPRITES_FAULTS)
def test_dsprites_file_with_a_fault_is_named(tmp_path, suffix, fault):
    changed, words = DSPRITES_FAULTS[fault]
    path = crafted_dsprites(tmp_path, suffix, **changed)
    line = refusal("dsprites", path)
    assert words in line and str(path) in line


@pytest.mark.parametrize("suffix", [".npz", ".hdf5"])
@pytest.mark.parametrize("damage", ["empty", "noise", "cut", "scratched"])
def test_damaged_dsprites_file_is_named(tmp_path, suffix, damage):
    path = crafted_dsprites(tmp_path, suffix)
    data = bytearray(path.read_bytes())
    middle = len(data) // 3
    data = {
        "empty": b"",
        "noise": bytes(range(256)) * 9,
        "cut": data[:middle],
        "scratched": data[:64] + bytes(512) + data[576:],
    }[damage]
    path.write_bytes(data)
    assert str(path) in refusal("dsprites", path)


def test_pickle_as_dsprites_file_is_not_opened(tmp_path):
    path = tmp_path / "trap.npy"
    np.save(path, np.array([Trap(tmp_path / "sprung")], dtype=object))
    assert str(path) in refusal("dsprites", path)
    assert not (tmp_path / "sprung").exists()
    assert "no such file" in refusal("dsprites", tmp_path)


# --- MNIST and Fashion-MNIST

MNIST_KINDS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}


@pytest.fixture(params=MNIST_KINDS)
def tiny_mnist(request, tmp_path, monkeypatch):
    """(name, folder of four official-looking .gz files with md5s that torchvision takes, their arrays)."""
    import torchvision.datasets

    kind = getattr(torchvision.datasets, MNIST_KINDS[request.param])
    rng = np.random.default_rng(0)
    folder = tmp_path / "have"
    folder.mkdir()
    arrays, resources = {}, []
    for split, n in (("train", 12), ("t10k", 5)):
        arrays[split] = (
            rng.integers(0, 256, (n, 28, 28), dtype=np.uint8),
            rng.integers(0, 10, n, dtype=np.uint8),
        )
        for array, what in zip(arrays[split], ("images-idx3", "labels-idx1")):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            data = gzip.compress(head + array.tobytes())
            (folder / f"{split}-{what}-ubyte.gz").write_bytes(data)
            resources.append((f"{split}-{what}-ubyte.gz", hashlib.md5(data).hexdigest()))
    monkeypatch.setattr(kind, "resources", resources)
    return request.param, folder, arrays


def move_below(folder: Path, *names: str) -> Path:
    """Put the files of a folder into a new root, below it; the root."""
    root = folder.with_name("root")
    (root / Path(*names)).parent.mkdir(parents=True, exist_ok=True)
    folder.rename(root / Path(*names))
    return root


def test_a_data_set_may_have_any_name(tiny_mnist, tmp_path):
    kind, folder, arrays = tiny_mnist
    stage.prepare(PrepareSpec(dataset="my digits", kind=kind, path=str(folder)), tmp_path / "mine.h5")
    assert (read_split(tmp_path / "mine.h5", "train").x[:, 0] == arrays["train"][0]).all()


@pytest.mark.parametrize("layout", ["folder", "root", "extracted folder", "extracted root"])
def test_mnist_files(tiny_mnist, layout):
    name, folder, arrays = tiny_mnist
    if "extracted" in layout:
        for file in folder.iterdir():
            file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
            file.unlink()
    if "root" in layout:
        folder = move_below(folder, MNIST_KINDS[name], "raw")
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    parts = load(name, folder)
    check_parts(name, parts)
    for split, ours in (("train", "train"), ("t10k", "test")):
        x, label = arrays[split]
        assert_equal(parts[ours], Part(x[:, None], label.astype(np.int64)))
    assert before == {file: file.stat().st_mtime_ns for file in folder.rglob("*")}, (
        "the user's folder was changed"
    )


def test_missing_mnist_file_is_named(tiny_mnist):
    name, folder, _ = tiny_mnist
    missing = "t10k-labels-idx1-ubyte.gz"
    (folder / missing).unlink()
    flat = refusal(name, folder)
    root = move_below(folder, MNIST_KINDS[name], "raw")
    for line, place in ((flat, folder), (refusal(name, root), root / MNIST_KINDS[name] / "raw")):
        assert line.startswith(f"{place / missing}: no such file") and f"datasets.{name}.path" in line


def test_mnist_file_with_wrong_checksum_is_named(tiny_mnist):
    name, folder, _ = tiny_mnist
    file = folder / "train-labels-idx1-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    line = refusal(name, folder)
    assert str(file) in line and "wrong checksum" in line


def test_extracted_mnist_file_that_is_cut_is_refused(tiny_mnist):
    name, folder, _ = tiny_mnist
    for file in list(folder.iterdir()):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes())[:-1])
        file.unlink()
    assert str(folder) in refusal(name, folder)


def test_unpacked_files_of_the_other_data_set_are_refused(tiny_mnist, monkeypatch):
    from vaepipe.datasets.sources import mnist_files

    name, folder, _ = tiny_mnist
    known: dict[str, str] = {}
    for file in list(folder.iterdir()):
        data = gzip.decompress(file.read_bytes())
        file.with_suffix("").write_bytes(data)
        known[file.stem] = hashlib.md5(data).hexdigest()
        file.unlink()
    assert load(name, folder)
    other = next(kind for kind in MNIST_KINDS.values() if kind != MNIST_KINDS[name])
    monkeypatch.setitem(mnist_files.UNPACKED_MD5, other, known)
    assert f"this is the file of {other}, not of {name}" in refusal(name, folder)


def test_verified_mnist_downloads_are_not_fetched_again(tiny_mnist, monkeypatch):
    import requests

    name, folder, arrays = tiny_mnist
    downloads = move_below(folder, MNIST_KINDS[name], "raw")
    monkeypatch.setattr(requests, "get", None)  # no network
    np.testing.assert_array_equal(load(name, None, downloads)["train"].x[:, 0], arrays["train"][0])


# --- what no stage could work with

IMAGES = np.zeros((4, 1, 8, 8), np.uint8)
FAULTY_PARTS = {
    "float images": (Part(IMAGES / 2), "found (4, 1, 8, 8) float64"),
    "flat images": (Part(IMAGES[:, 0, 0]), "found (4, 8) uint8"),
    "empty": (Part(IMAGES[:0]), "empty"),
    "short label": (Part(IMAGES, np.arange(3)), "label"),
    "label of floats": (Part(IMAGES, np.arange(4.0)), "label"),
    "unnamed factors": (Part(IMAGES, None, np.zeros((4, 2), int), ("x",)), "factors"),
    "infinite points": (Part(np.full((4, 3), np.inf, np.float32)), "not finite"),
    "other size": (Part(IMAGES[..., :7]), "differ"),
    "other labels": (Part(IMAGES, np.arange(4)), "do not know the same"),
}


@pytest.mark.parametrize("fault", FAULTY_PARTS)
def test_faulty_parts_are_refused(fault):
    part, words = FAULTY_PARTS[fault]
    with pytest.raises(DataError, match=r"^some") as caught:
        check_parts("some", {"train": Part(IMAGES), "test": part})
    assert words in str(caught.value)


# --- the registry


@pytest.mark.parametrize("name", DATASETS)
def test_the_docs_have_the_number_and_shape_of_every_data_set(name):
    entry = DATASETS[name]
    lines = (ROOT / "docs" / "data.md").read_text(encoding="utf-8").splitlines()
    row = next(line for line in lines if line.startswith(f"| `{name}` |"))
    assert (f"{entry.count:,}" if entry.count else "| any |") in row
    assert "×".join(map(str, entry.shape)) in row or name == "array"


def test_the_registry_has_the_number_and_shape_of_what_is_generated():
    for name in MADE_HERE:
        part = whole(made_here(name))
        assert part.x.shape == (DATASETS[name].count, *DATASETS[name].shape)


# --- the stage


@pytest.mark.parametrize("name", MADE_HERE)
def test_prepared_file_reads_back_equal(tmp_path, name):
    out = tmp_path / "new" / "data.h5"
    stage.prepare(PrepareSpec(dataset=name), out)
    parts = made_here(name)
    for split in ("train", "test"):
        assert_equal(read_split(out, split), parts[split])
    with open_h5(out, "data") as file:
        attrs = {key: read_text(file, key) for key in file.attrs}
        assert all(
            file[split][key].attrs["description"] for split in ("train", "test") for key in file[split]
        )
    assert (
        attrs["dataset"] == name
        and attrs["licence"] == DATASETS[name].licence
        and attrs["about"] == DATASETS[name].about
    )
    assert (
        json.loads(attrs["shape"]) == list(MADE_HERE[name][0])
        and json.loads(attrs["spec"])["dataset"] == name
    )
    assert len(attrs["digest"]) == 64 and attrs["code"]
    with pytest.raises(DataError, match="no split 'all'"):
        read_split(out, "all")


def test_a_digest_tells_data_apart_by_all_their_arrays(tmp_path):
    x, label = np.arange(60, dtype=np.uint8).reshape(5, 1, 3, 4), np.arange(5)
    part, other = (
        Part(x, label, label[:, None], ("shape",)),
        Part(x[:2], label[:2], label[:2, None], ("shape",)),
    )
    changes = [
        {},
        {"x": x[::-1]},
        {"label": label[::-1]},
        {"label": label.astype(np.int32)},
        {"label": None},
        {"factors": label[::-1, None]},
        {"factor_names": ("size",)},
        {"x": x.reshape(5, 1, 4, 3)},
    ]
    parts = [{"train": replace(part, **change), "test": other} for change in changes]
    parts.append({"train": other, "test": part})
    found = []
    for i, both in enumerate(parts * 2):
        write_parts(tmp_path / f"{i}.h5", both, {"about": str(i)})
        found.append(read_digest(tmp_path / f"{i}.h5"))
    assert found[: len(parts)] == found[len(parts) :] and len(set(found)) == len(parts)


@pytest.mark.slow
def test_command_line(tmp_path):
    done = run_stage(
        "prepare", "--spec", '{"dataset": "digits", "path": null}', "--out", "digits.h5", cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("1797 of 1797 rows, ")
    assert [file.name for file in tmp_path.iterdir()] == ["digits.h5"]
    assert read_split(tmp_path / "digits.h5", "test").x.shape == (360, 1, 8, 8)


BAD_INPUT = {
    "not JSON": ("{", "--spec"),
    "not an object": ("3", "--spec"),
    "unknown": ('{"dataset": "digit", "path": null}', "'digit' is not a data set; known: swissroll, digits"),
    "faces": ('{"dataset": "faces", "path": null}', "faces: they are not public"),
    "no file": ('{"dataset": "dsprites", "path": "gone.npz"}', "gone.npz: no such file"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_line(tmp_path, monkeypatch, case):
    spec, words = BAD_INPUT[case]
    monkeypatch.setattr(sys, "argv", ["prepare", "--spec", spec, "--out", str(tmp_path / "data.h5")])
    with pytest.raises(SystemExit) as caught:
        errors.run_stage(stage.main)
    assert words in caught.value.code and "\n" not in caught.value.code
    assert not list(tmp_path.iterdir())


def test_bad_input_on_the_command_line(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nothing")
    done = run_stage(
        "prepare", "--spec", '{"dataset": "dsprites", "path": "bad.npz"}', "--out", "out.h5", cwd=tmp_path
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: bad.npz: damaged")
    assert [file.name for file in tmp_path.iterdir()] == ["bad.npz"]


# --- real files


@pytest.mark.parametrize("name", MNIST_KINDS)
def test_real_mnist(name):
    parts = load(name, real(name))
    check_parts(name, parts)
    assert parts["train"].x.shape == (60_000, 1, 28, 28) and parts["test"].x.shape == (10_000, 1, 28, 28)
    assert (np.bincount(parts["test"].label) == 1000).all() == (name == "fashion-mnist")
    # Means as commonly published for the training images: 0.1307 and 0.2860
    assert abs(parts["train"].x.mean() / 255 - {"mnist": 0.1307, "fashion-mnist": 0.2860}[name]) < 5e-4


def test_one_mnist_is_not_the_other():
    assert "wrong checksum" in refusal("fashion-mnist", real("mnist"))


def test_real_dsprites():
    path = real("dsprites/dsprites_random20000_64x64.npz")
    parts = load("dsprites", path)
    check_parts("dsprites", parts)
    assert parts["train"].x.shape == (18_000, 1, 64, 64) and parts["test"].x.shape == (2000, 1, 64, 64)
    part = whole(parts)
    assert set(np.unique(part.x)) == {0, 255} and (part.factors.max(0) == (2, 5, 39, 31, 31)).all()
    # Class of x grows with the column, class of y with the row: images and factors belong together
    centres = np.array([np.argwhere(image[0]).mean(0) for image in part.x[:300]])
    for factor, axis in ((3, 1), (4, 0)):
        assert np.corrcoef(part.factors[:300, factor], centres[:, axis])[0, 1] > 0.99
