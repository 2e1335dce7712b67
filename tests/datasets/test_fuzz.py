"""Generated trees, arrays, archives and image files: used whole, or refused in one line; nothing is lost.

``VAEPIPE_FUZZ=10000 pytest tests/datasets/test_fuzz.py`` tries that many cases instead of 200.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.numpy
import scipy.io
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from PIL import Image

from vaepipe.datasets import array, folder
from vaepipe.datasets.part import Part
from vaepipe.datasets.prepared import read_digest, read_spec, read_split
from vaepipe.datasets.splits import find_layout
from vaepipe.datasets.writing import check_parts, write_parts
from vaepipe.storage.errors import DataError

CASES = int(os.environ.get("VAEPIPE_FUZZ", "200"))
RNG = np.random.default_rng(0)


def cases(share: float):
    return settings(
        max_examples=max(10, int(CASES * share)),
        deadline=None,
        derandomize=CASES == 200,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def picture(kind: str = "png", seed: int = 0, **options) -> bytes:
    x = np.random.default_rng(seed).integers(0, 256, (9, 8, 3), np.uint8)
    x[0, 0] = 255
    out = io.BytesIO()
    Image.fromarray(x).save(out, kind, **options)
    return out.getvalue()


def one_line(error: DataError) -> None:
    assert "\n" not in str(error) and str(error)


def load(module, path: Path, **options) -> tuple[dict, dict]:
    """The parts of a data set, read, and what they report."""
    parts = module.load("mine", path, Path("nowhere"), **options)
    check_parts("mine", parts)
    arrays = {split: np.asarray(part.x) for split, part in parts.items()}
    assert all(len(x) == len(parts[split].x) for split, x in arrays.items())
    return {split: (arrays[split], parts[split]) for split in parts}, parts["train"].report()


def counted(report: dict) -> int:
    return sum(int(line.split()[0]) for line in report.get("left out", []))


# --- trees

WORDS = [
    *(
        "train",
        "Test",
        "VAL",
        "training",
        "validation",
        "test_set",
        "train2017",
        "trainA",
        "testA",
        "imagesTr",
    ),
    *(
        "cat",
        "dog",
        "masks",
        "images",
        "labels",
        "ground_truth",
        "mask",
        "no_mask",
        "x y",
        "ü",
        "train_masks",
    ),
]
SUFFIXES = [".png", ".PNG", ".jpg", ".jfif", ".jpe", "", ".txt", ".xml", ".tif"]
NAMES = st.tuples(
    st.lists(st.sampled_from(WORDS), max_size=3),
    st.sampled_from(["0", "1", "2", "a", "Thumbs", ".hidden", "é"]),
    st.sampled_from(SUFFIXES),
).map(lambda parts: "/".join([*parts[0], parts[1] + parts[2]]))
FOLDERS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(WORDS), max_size=3),
        st.integers(1, 7),
        st.sampled_from([*SUFFIXES, ".png", ".png"]),
    ),
    min_size=2,
    max_size=6,
).map(lambda folders: ["/".join([*words, f"{i}{end}"]) for words, n, end in folders for i in range(n)])
TREES = st.tuples(FOLDERS, st.lists(NAMES, max_size=5)).map(lambda lists: sorted({*lists[0], *lists[1]}))
CONTENTS = st.sampled_from(["image", "image", "text", "cut"])


def content(kind: str, seed: int) -> bytes:
    return {"image": picture(seed=seed), "text": b"words", "cut": picture(seed=seed)[:40]}[kind]


def write_tree(root: Path, container: str, files: dict[str, bytes]) -> Path:
    path = root / f"d.{container}"
    if container == "folder":
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
        path.mkdir(exist_ok=True)
    elif container == "tar":
        with tarfile.open(path, "w") as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(f"./{name}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                info = zipfile.ZipInfo()
                info.filename = name.replace("/", "\\") if container == "windows.zip" else name
                archive.writestr(info, data)
    return path


@cases(0.35)
@given(
    TREES,
    st.one_of(st.just([]), st.just([]), st.lists(CONTENTS, max_size=9)),
    st.sampled_from(["folder", "zip", "windows.zip", "tar"]),
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=3),
)
def test_every_file_of_a_tree_is_used_or_counted(files, damage, container, links):
    folders = {name[: match.start()] for name in files for match in re.finditer("/", name)}
    assume(not folders & set(files))
    kinds = dict(zip(files, damage))
    data = {name: content(kinds.get(name, "image"), i) for i, name in enumerate(files)}
    with tempfile.TemporaryDirectory() as root:
        path = write_tree(Path(root), container, data)
        made = 0
        if container == "folder":
            places = [path, *sorted(p for p in path.rglob("*") if p.is_dir())]
            for i, (at, to) in enumerate(links):
                link = places[at % len(places)] / f"link{i}"
                link.symlink_to(places[to % len(places)], target_is_directory=True)
                made += 1
        try:
            parts, report = load(folder, path, size=8)
        except DataError as error:
            one_line(error)
            event("refused: " + re.sub(r"\d+|/tmp/\S+", "", str(error))[:60])
            return
        event("read")
        used = sum(len(x) for x, _ in parts.values())
        assert used + counted(report) >= len(files)
        if not made:
            assert used + counted(report) == len(files)
        whole = [x.tobytes() for x, _ in parts.values() for x in x]
        assert len(whole) == len(set(whole)), "a file was read twice"
        train, test = (part for _, part in parts.values())
        assert (train.label is None) == (test.label is None)


@cases(0.1)
@given(st.lists(NAMES, min_size=1, max_size=40, unique=True))
def test_layout_keeps_or_names_every_file(names):
    layout = find_layout(names)
    left_out = [name for group in layout.left_out.values() for name in group]
    assert sorted([*layout.names, *left_out]) == sorted(names)
    assert set(layout.kinds) == set(layout.names)
    if layout.splits:
        assert sorted(layout.splits["train"] + layout.splits["test"]) == sorted(layout.names)
        assert layout.splits["train"] and layout.splits["test"]


# --- arrays

BASE = RNG.integers(0, 256, (12, 5, 7, 3), np.uint8)
BASE[:, 0, 0] = 255
WRITERS: dict[str, Callable[[Path, np.ndarray], None]] = {
    ".npy": np.save,
    ".npz": lambda path, x: np.savez_compressed(path, x=x),
    ".h5": lambda path, x: h5py.File(path, "w").create_dataset("x", data=x).file.close(),
    ".mat": lambda path, x: scipy.io.savemat(path, {"x": x}),
    ".safetensors": lambda path, x: safetensors.numpy.save_file(
        {"x": np.ascontiguousarray(x.astype(x.dtype.newbyteorder("=")))}, path
    ),
}
AXES = ["NHW", "NWH", "HWN", "WHN", "NCHW", "NCWH", "NHWC", "NWHC", "HWCN", "WHCN", "CHWN", "CWHN"]
TYPES = ["u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8", "?"]


@pytest.mark.usefixtures("forked_scipy")
@cases(0.25)
@given(
    st.sampled_from([*[suffix for suffix in WRITERS if suffix != ".mat"] * 3, ".mat"]),
    st.sampled_from(AXES),
    st.sampled_from(TYPES),
    st.sampled_from("<>"),
    st.sampled_from([None, 1, 15, 255, 1023, 4095, 65535]),
    st.booleans(),
)
def test_arrays_come_back_as_they_were_meant(suffix, axes, dtype, order, white, fortran):
    base = BASE if "C" in axes else BASE[..., :1]
    kind = np.dtype(order + dtype)
    if kind.kind == "b":
        x, white = base > 127, None
        expected = np.where(x, 255, 0)
    elif kind.kind == "f":
        x, white = base / 255, None
        expected = base
    else:
        top = white or (65535 if dtype == "u2" else 255)
        assume(top <= np.iinfo(kind).max)
        x = np.round(base.astype(float) / 255 * top)
        expected = np.round(x * (255 / top))
    expected = expected.astype(np.uint8).transpose(0, 3, 1, 2)
    x = x.astype(kind)
    x = np.einsum("NHWC->" + axes, x) if "C" in axes else np.einsum("NHW->" + axes, x[..., 0])
    x = np.asfortranarray(x) if fortran else np.ascontiguousarray(x)
    with tempfile.TemporaryDirectory() as root:
        path = Path(root, f"d{suffix}")
        WRITERS[suffix](path, x)
        parts, report = load(array, path, axes=axes, **({} if white is None else {"maximum": white}))
        back = {image.tobytes() for images, _ in parts.values() for image in images}
        assert back == {image.tobytes() for image in expected} and report["axes"] == [axes]
        if white and white * 2 < (65535 if dtype == "u2" else 255):
            with pytest.raises(DataError, match=f"far below .* datasets.mine.maximum .*{white}"):
                load(array, path, axes=axes)


# --- damage

MUTATIONS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12
)


def mutated(data: bytes, mutations, within: int, cut: float | None) -> bytes:
    changed = bytearray(data)
    for place, value in mutations:
        changed[int(place * min(within, len(changed)))] = value
    return bytes(changed if cut is None else changed[: int(cut * len(changed))])


FORMATS = {
    "png": {}, "jpeg": {}, "gif": {}, "bmp": {}, "tiff": {}, "webp": {}, "ppm": {}, "avif": {}, "jpeg2000": {}
}  # fmt: skip
CUTS = st.one_of(st.none(), st.none(), st.floats(0, 1))


@cases(0.2)
@given(st.sampled_from(list(FORMATS)), MUTATIONS, CUTS, st.binary(max_size=60), st.booleans())
def test_damaged_image_files_are_read_or_named(kind, mutations, cut, exif, header):
    options = {"exif": b"Exif\0\0II*\0" + exif} if kind in ("jpeg", "png", "webp") else {}
    try:
        data = picture(kind, **options)
    except Exception:  # Pillow refuses to write it
        assume(False)
    suffix = {"jpeg": "jpg", "jpeg2000": "jp2"}.get(kind, kind)
    with tempfile.TemporaryDirectory() as root:
        for i in range(4):
            Path(root, f"good{i}.png").write_bytes(picture(seed=i))
        Path(root, f"bad.{suffix}").write_bytes(mutated(data, mutations, 100 if header else len(data), cut))
        try:
            parts, _ = load(folder, Path(root), size=8)
        except DataError as error:
            one_line(error)
            assert f"bad.{suffix}" in str(error)
            event("refused")
        else:
            assert sum(len(x) for x, _ in parts.values()) == 5
            event("read")


@cases(0.05)
@given(st.sampled_from(["zip", "tar"]), MUTATIONS, CUTS)
def test_damaged_archives_are_read_or_refused(container, mutations, cut):
    with tempfile.TemporaryDirectory() as root:
        path = write_tree(Path(root), container, {f"{i}.png": picture(seed=i) for i in range(4)})
        path.write_bytes(mutated(path.read_bytes(), mutations, 10**6, cut))
        try:
            parts, report = load(folder, path, size=8)
        except DataError as error:
            one_line(error)
            assert str(path) in str(error)
            event("refused")
        else:
            assert sum(len(x) for x, _ in parts.values()) + counted(report) <= 4
            event("read")


def in_a_process_of_its_own(function: Callable[[], str | None]) -> str | None:
    """What a function returns, called where it may crash."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        os.close(reader)
        try:
            answer = function()
        except BaseException as error:
            answer = f"RAISED {error!r}"
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        said = file.read()
    assert os.waitpid(child, 0)[1] == 0 and said, "the process crashed"
    return json.loads(said)


def write_plain(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = BASE


def write_modern(path: Path) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("group/x", data=BASE, chunks=(4, 5, 7, 3), compression="gzip", fletcher32=True)


def write_v73(path: Path) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        x = file.create_dataset(
            "x", data=np.ascontiguousarray(BASE.T), chunks=(3, 7, 5, 4), compression="gzip"
        )
        x.attrs["MATLAB_class"] = np.bytes_("uint8")
        file["#refs#/a"] = [1]


HDF5 = {"plain.h5": write_plain, "modern.h5": write_modern, "v73.mat": write_v73}


@cases(0.05)
@given(st.sampled_from(list(HDF5)), MUTATIONS, CUTS, st.sampled_from([600, 3000, 10**6]))
def test_damaged_hdf5_files_are_read_or_refused(name, mutations, cut, within):
    with tempfile.TemporaryDirectory() as root:
        path = Path(root, name)
        HDF5[name](path)
        path.write_bytes(mutated(path.read_bytes(), mutations, within, cut))

        def refusal() -> str | None:
            try:
                load(array, path)
            except DataError as error:
                return str(error)
            return None

        answer = in_a_process_of_its_own(refusal)
        if answer is not None:
            assert "\n" not in answer and (str(path) in answer or answer.startswith("mine, ")), answer
        event("read" if answer is None else "refused")


@cases(0.05)
@given(MUTATIONS, CUTS, st.sampled_from([600, 3000, 10**6]))
def test_damaged_results_are_equal_or_refused(mutations, cut, within):
    part = Part(BASE.transpose(0, 3, 1, 2), np.arange(12), np.arange(12)[:, None], ("size",))
    with tempfile.TemporaryDirectory() as root:
        path = Path(root, "d.h5")
        write_parts(path, {"train": part, "test": part}, {"spec": {"kind": "array"}})
        path.write_bytes(mutated(path.read_bytes(), mutations, within, cut))

        def refusal() -> str | None:
            try:
                back, spec, digest = read_split(path, "test"), read_spec(path), read_digest(path)
            except DataError as error:
                return str(error)
            assert np.array_equal(back.x, part.x) and np.array_equal(back.label, part.label)
            assert np.array_equal(back.factors, part.factors) and back.factor_names == ("size",)
            assert spec == {"kind": "array"} and len(digest) == 64
            return None

        answer = in_a_process_of_its_own(refusal)
        assert answer is None or ("\n" not in answer and answer.startswith(f"{path}: ")), answer
        event("read" if answer is None else "refused")


@pytest.mark.usefixtures("forked_scipy")
@cases(0.05)
@given(st.sampled_from([*[".npy", ".npz", ".safetensors"] * 3, ".mat"]), MUTATIONS, CUTS, st.booleans())
def test_damaged_arrays_are_read_or_refused(suffix, mutations, cut, header):
    with tempfile.TemporaryDirectory() as root:
        path = Path(root, f"d{suffix}")
        WRITERS[suffix](path, BASE)
        path.write_bytes(mutated(path.read_bytes(), mutations, 200 if header else 10**6, cut))
        try:
            load(array, path)
        except DataError as error:
            one_line(error)
            event("refused")
        else:
            event("read")
