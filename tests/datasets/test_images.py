"""Trees of images and arrays: decoded numbers, official layouts, and the messages of refusals."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from vaepipe.datasets.prepared import read_split
from vaepipe.datasets.registry import DATASETS
from vaepipe.datasets.sources import archives, decoding
from vaepipe.datasets.sources.array_file import ArrayFile
from vaepipe.datasets.sources.decoding import decode
from vaepipe.datasets.sources.tree import ImageTree
from vaepipe.datasets.writing import check_parts
from vaepipe.stages import prepare as stage
from vaepipe.storage.errors import DataError
from vaepipe.storage.h5 import read_text
from vaepipe.study.specs import PrepareSpec

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3), np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str = "png", **options) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(out := io.BytesIO(), kind, **options)
    return out.getvalue()


def prepared(path: Path, kind: str, tmp_path: Path, threads: int = 1, **options) -> dict:
    out = tmp_path / "out" / "mine.h5"
    spec = PrepareSpec(
        dataset="mine", kind=kind, path=str(path), checksum=options.pop("checksum", None), options=options
    )
    stage.prepare(spec, out, threads=threads)
    return {split: read_split(out, split) for split in ("train", "test")}


def refusal(path: Path, kind: str, tmp_path: Path, **options) -> str:
    """The one line that refuses; nothing is written."""
    with pytest.raises(DataError) as caught:
        prepared(path, kind, tmp_path, **options)
    assert "\n" not in str(caught.value) and not list((tmp_path / "out").glob("*"))
    return str(caught.value)


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


CONTAINERS = {"folder": write_files, "zip": write_zip, "tar": write_tar}


# --- decoding


def test_colours_come_through_and_grey_is_rec_601():
    x = decode(encoded(RGB), 3, None, None)
    np.testing.assert_array_equal(x, RGB.transpose(2, 0, 1))
    grey = decode(encoded(RGB), 1, None, None)
    np.testing.assert_allclose(grey[0], RGB @ [0.299, 0.587, 0.114], atol=1)


def test_crop_is_from_the_middle_and_scaling_keeps_means():
    x = decode(encoded(RGB), 3, 10, None)
    np.testing.assert_array_equal(x, RGB[5:15, 10:20].transpose(2, 0, 1))
    blocks = np.kron(RNG.integers(0, 256, (8, 8), np.uint8), np.ones((4, 4), np.uint8))
    small = decode(encoded(blocks), 1, None, 1)
    assert abs(int(small[0, 0, 0]) - blocks.mean()) < 40 and decode(encoded(RGB), 3, None, 8).shape == (
        3,
        8,
        8,
    )
    flat = decode(encoded(np.full((50, 70), 77, np.uint8)), 1, 40, 16)
    assert (flat == 77).all() and flat.shape == (1, 16, 16)


def test_transparency_lies_on_white_and_palettes_are_looked_up():
    rgba = np.dstack([RGB, np.zeros((20, 30), np.uint8)])
    rgba[:10, :, 3] = 255
    x = decode(encoded(rgba), 3, None, None)
    np.testing.assert_array_equal(x[:, :10], RGB[:10].transpose(2, 0, 1))
    assert (x[:, 10:] == 255).all()
    palette = Image.fromarray(RGB).quantize(16)
    np.testing.assert_array_equal(
        decode(encoded(palette), 3, None, None), np.asarray(palette.convert("RGB")).transpose(2, 0, 1)
    )
    assert (
        decode(encoded(palette, transparency=int(palette.getpixel((0, 0)))), 3, None, None)[:, 0, 0] == 255
    ).all()


def test_sixteen_bits_are_cut_to_eight_not_clipped():
    deep = RNG.integers(0, 65536, (9, 9)).astype(np.uint16)
    np.testing.assert_array_equal(decode(encoded(deep), 1, None, None)[0], np.round(deep / 257))


def test_photographs_are_turned_as_the_camera_says():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise
    x = decode(encoded(Image.fromarray(RGB), "tiff", exif=exif), 3, None, None)
    np.testing.assert_array_equal(x, np.rot90(RGB, -1).transpose(2, 0, 1))


# --- folders and archives


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_tree_of_classes(tmp_path, container):
    files = {
        f"{kind}/{i:02}.png": encoded(RNG.integers(0, 256, (8, 8), np.uint8))
        for kind in "ba"
        for i in range(15)
    }
    path = CONTAINERS[container](
        tmp_path / f"my 'images' $x.{container}", files | {"a/notes.txt": b"no", ".hidden.png": b"no"}
    )
    parts = prepared(path, "folder", tmp_path, threads=3, size=None, channels=1)
    check_parts("mine", parts)
    assert (
        len(parts["test"].x) == 15 and len(parts["train"].x) == 15
    )  # enough for some pairs, no more than half
    found = {x.tobytes(): label for part in parts.values() for x, label in zip(part.x, part.label)}
    assert found == {
        decode(data, 1, None, None).tobytes(): "ab".index(name[0]) for name, data in files.items()
    }


def test_folders_called_train_and_test_are_the_split(tmp_path):
    files = {
        f"{s}/{k}/{i}.png": encoded(np.full((8, 8), 10 * i, np.uint8))
        for s in ("train", "test")
        for k in "xyz"
        for i in range(3)
    }
    parts = prepared(write_files(tmp_path / "d", files), "folder", tmp_path, size=None)
    for part in parts.values():
        assert part.x.shape == (9, 3, 8, 8) and list(part.label) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        assert list(part.x[:3, 0, 0, 0]) == [0, 10, 20]


def test_threads_and_blocks_change_nothing(tmp_path, monkeypatch):
    files = {f"{i}.png": encoded(RNG.integers(0, 256, (8, 8), np.uint8)) for i in range(60)}
    path, digests = write_files(tmp_path / "d", files), set()
    for threads, chunk in ((1, 2**20), (3, 500)):
        monkeypatch.setattr("vaepipe.datasets.writing.CHUNK_BYTES", chunk)
        monkeypatch.setattr("vaepipe.storage.h5.CHUNK_BYTES", chunk)
        prepared(path, "folder", tmp_path, threads=threads, size=None)
        with h5py.File(tmp_path / "out/mine.h5") as file:
            digests.add(read_text(file, "digest"))
    assert len(digests) == 1


GOOD = encoded(RGB)
GOOD_ONES = {f"{name}.png": GOOD for name in "acd"}
BAD_TREES = {
    "empty": ({}, "no images in it"),
    "other files": ({"a.txt": b"text"}, "no images in it"),
    "one": ({"a.png": GOOD}, "1 images only; at least 4 are needed, 2 to train and 2 to hold out"),
    "text": (
        {**GOOD_ONES, "b.png": b"not an image"},
        "b.png: not a readable image (of no known format); repair or remove it",
    ),
    "cut": ({**GOOD_ONES, "b.png": GOOD[:900]}, "b.png: not a readable image"),
    "cut jpeg": ({**GOOD_ONES, "b.jpg": encoded(RGB, "jpeg")[:500]}, "b.jpg: not a readable image"),
    "nothing": ({**GOOD_ONES, "b.png": b""}, "b.png: not a readable image"),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("fault", BAD_TREES)
def test_bad_trees(tmp_path, container, fault):
    files, words = BAD_TREES[fault]
    path = CONTAINERS[container](tmp_path / f"d.{container}", files)
    path.mkdir(exist_ok=True) if container == "folder" else None
    line = refusal(path, "folder", tmp_path)
    assert words in line and str(path) in line


def test_mixed_sizes_are_named_and_a_size_mends_them(tmp_path):
    files = {**GOOD_ONES, "b.png": encoded(RGB[:, :29])}
    path = write_files(tmp_path / "d", files)
    assert "b.png: 29×20, but the first image has 30×20; say which size" in refusal(
        path, "folder", tmp_path, size=None
    )
    assert prepared(path, "folder", tmp_path, size=16)["train"].x.shape[1:] == (3, 16, 16)
    assert "smaller than the crop of 25" in refusal(path, "folder", tmp_path / "again", crop=25)


@pytest.mark.parametrize("container", ["zip", "tar"])
@pytest.mark.parametrize("name", ["../a.png", "x/../../a.png", "/etc/a.png", "..\\a.png"])
def test_names_that_lead_out_of_an_archive(tmp_path, container, name):
    path = CONTAINERS[container](tmp_path / f"d.{container}", {"b.png": GOOD, name: GOOD})
    line = refusal(path, "folder", tmp_path)
    assert (
        "refused" in line and "leads out of the archive" in line and not (tmp_path.parent / "a.png").exists()
    )


def test_links_in_archives(tmp_path):
    with tarfile.open(tmp_path / "d.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            info = tarfile.TarInfo("a.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    info = zipfile.ZipInfo("a.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    for kind in ("tar", "zip"):
        assert "refused, 'a.png' is a link" in refusal(tmp_path / f"d.{kind}", "folder", tmp_path)


def test_bombs(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(10**6))
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 10**6 - 1)
    assert "refused, 'a.png' is 1000000 bytes long" in refusal(tmp_path / "d.zip", "folder", tmp_path)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 599)
    path = write_files(tmp_path / "d", GOOD_ONES | {"b.png": GOOD})
    assert "a.png: not a readable image (30×20 pixels, more than 599)" in refusal(path, "folder", tmp_path)


@pytest.mark.parametrize("container", ["zip", "tar"])
def test_damaged_archives(tmp_path, container):
    files = {f"{i}.png": encoded(RNG.integers(0, 256, (40, 40), np.uint8)) for i in range(20)}
    path = CONTAINERS[container](tmp_path / f"d.{container}", files)
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2 + 100], b"", b"no archive" * 99):
        path.write_bytes(data)
        assert str(path) in refusal(path, "folder", tmp_path)
    scratched = bytearray(whole)
    scratched[700:1000] = bytes(300)
    path.write_bytes(scratched)
    assert ".png" in refusal(path, "folder", tmp_path)


# --- official layouts


def test_chairs(tmp_path):
    files, white = {}, np.full((600, 600, 3), 255, np.uint8)
    for i, chair in enumerate(("c1", "c0")):
        for elevation in (20, 30):
            for azimuth in (0, 11, 23):
                image = white.copy()
                image[100:500, 100:500] = 50 * i + elevation + azimuth
                name = f"rendered_chairs/{chair}/renders/image_001_p{elevation:03}_t{azimuth:03}_r096.png"
                files[name] = encoded(image)
    files["rendered_chairs/all_chair_names.mat"] = b""
    parts = DATASETS["chairs"].load("chairs", write_tar(tmp_path / "rendered_chairs.tar", files), tmp_path)
    check_parts("chairs", parts)
    assert len(parts["train"].x) == len(parts["test"].x) == 6
    for part in parts.values():
        chair, elevation, azimuth = part.factors.T
        expected = 50 * (1 - chair) + 20 + 10 * elevation + np.array([0, 11, 23])[azimuth]
        assert (np.asarray(part.x) == expected[:, None, None, None]).all(), (
            "the white frame outside the crop is in the image"
        )
        assert part.x.shape[1:] == (1, 64, 64)
    with pytest.raises(DataError, match=r"give the official rendered_chairs\.tar"):
        DATASETS["chairs"].load("chairs", write_files(tmp_path / "d", {"a.png": GOOD}), tmp_path)


def test_celeba(tmp_path):
    def face(value):
        image = np.zeros((218, 178, 3), np.uint8)
        image[35:183, 15:163] = value
        return encoded(image)

    numbers = {1: "train", 162_770: "train", 162_771: None, 182_637: None, 182_638: "test", 202_599: "test"}
    files = {f"img_align_celeba/{number:06}.png": face((number % 200, 3, 250)) for number in numbers}
    write_zip(tmp_path / "img_align_celeba.zip", files)
    for path in (tmp_path, tmp_path / "img_align_celeba.zip"):
        parts = DATASETS["celeba"].load("celeba", path, tmp_path)
        for split, part in parts.items():
            expected = np.array([[number % 200, 3, 250] for number, its in numbers.items() if its == split])[
                ..., None, None
            ]
            np.testing.assert_array_equal(np.asarray(part.x), np.broadcast_to(expected, (2, 3, 64, 64)))


def test_celeba_without_a_part_says_which_files_it_wants(tmp_path):
    files = {f"{number:06}.png": encoded(np.zeros((218, 178, 3), np.uint8)) for number in (1, 2, 170_000)}
    with pytest.raises(DataError, match="no test images, whose names are 182638 to 202599; give all"):
        DATASETS["celeba"].load("celeba", write_files(tmp_path / "d", files), tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("forked_scipy")
def test_svhn(tmp_path):
    arrays = {}
    for split, n in (("train", 12), ("test", 7)):
        arrays[split] = RNG.integers(0, 256, (32, 32, 3, n), np.uint8), RNG.integers(1, 11, (n, 1), np.uint8)
        scipy.io.savemat(tmp_path / f"{split}_32x32.mat", dict(zip("Xy", arrays[split])), do_compression=True)
    parts = DATASETS["svhn"].load("svhn", tmp_path, tmp_path)
    check_parts("svhn", parts)
    for split, (x, y) in arrays.items():
        np.testing.assert_array_equal(np.asarray(parts[split].x)[3], x[..., 3].transpose(2, 0, 1))
        assert list(parts[split].label) == [0 if digit == 10 else digit for digit in y[:, 0]]
    parts = DATASETS["svhn"].load("svhn", tmp_path / "train_32x32.mat", tmp_path)
    assert len(parts["train"].x) == len(parts["test"].x) == 6
    (tmp_path / "test_32x32.mat").unlink()
    with pytest.raises(DataError, match=r"test_32x32\.mat: no such file"):
        DATASETS["svhn"].load("svhn", tmp_path, tmp_path)


def test_addresses_and_checksums_are_torchvision_s():
    from torchvision.datasets import SVHN, CelebA

    from vaepipe.datasets import celeba, svhn

    number, md5 = next(entry[:2] for entry in CelebA.file_list if entry[2] == celeba.FILE)
    assert f"id={number}&" in celeba.ADDRESS and md5 == celeba.MD5
    for split, known in svhn.MD5.items():
        assert list(SVHN.split_list[split]) == [
            f"{svhn.ADDRESS}{split}_32x32.mat",
            f"{split}_32x32.mat",
            known,
        ]


def test_cifar10(tmp_path, monkeypatch):
    import hashlib
    import pickle

    from torchvision.datasets import CIFAR10

    data, lists = {}, {"train_list": [], "test_list": []}
    for which, names in (("train_list", ["data_batch_1", "data_batch_2"]), ("test_list", ["test_batch"])):
        for name in names:
            data[name] = {"data": RNG.integers(0, 256, (4, 3072), np.uint8), "labels": [1, 2, 3, 4]}
            lists[which].append([name, hashlib.md5(pickle.dumps(data[name])).hexdigest()])
    names = pickle.dumps({"label_names": list("abcde")})
    files = {name: pickle.dumps(batch) for name, batch in data.items()} | {"batches.meta": names}
    monkeypatch.setattr(
        CIFAR10,
        "meta",
        {"filename": "batches.meta", "key": "label_names", "md5": hashlib.md5(names).hexdigest()},
    )
    for which, entries in lists.items():
        monkeypatch.setattr(CIFAR10, which, entries)
    write_files(tmp_path / "cifar-10-batches-py", files)
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "cifar-10-batches-py", "cifar-10-batches-py")
    with pytest.raises(DataError, match="wrong checksum"):
        DATASETS["cifar10"].load("cifar10", tmp_path / "c.tar.gz", tmp_path)
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5((tmp_path / "c.tar.gz").read_bytes()).hexdigest())
    for path in (tmp_path, tmp_path / "cifar-10-batches-py", tmp_path / "c.tar.gz"):
        parts = DATASETS["cifar10"].load("cifar10", path, tmp_path)
        check_parts("cifar10", parts)
        assert parts["train"].x.shape == (8, 3, 32, 32) and list(parts["test"].label) == [1, 2, 3, 4]
        np.testing.assert_array_equal(parts["test"].x.reshape(4, -1), data["test_batch"]["data"])
    (tmp_path / "cifar-10-batches-py/test_batch").write_bytes(b"")
    with pytest.raises(DataError, match="missing or has a wrong checksum"):
        DATASETS["cifar10"].load("cifar10", tmp_path, tmp_path)


def test_faces(tmp_path, monkeypatch):
    from vaepipe.datasets import faces

    monkeypatch.setattr(faces, "FACTORS", {"identity": 2, "azimuth": 5, "elevation": 3, "lighting": 2})
    x = torch.from_numpy(RNG.integers(0, 256, (2, 5, 3, 2, 64, 64), np.uint8))
    path = tmp_path / "basel_face_renders.pth"
    for flat, old in ((x, False), (x.view(-1, 64, 64), True)):
        torch.save(flat, path, _use_new_zipfile_serialization=not old)
        parts = DATASETS["faces"].load("faces", path, tmp_path)
        check_parts("faces", parts)
        assert len(parts["train"].x) == 40
        for part in parts.values():
            np.testing.assert_array_equal(np.asarray(part.x)[:, 0], x.numpy()[tuple(part.factors.T)])
    for bad in (x[:1], x.float(), {"x": x}):
        torch.save(bad, path)
        with pytest.raises(DataError, match=r"expected 60 images 64×64 in one uint8 tensor, found"):
            DATASETS["faces"].load("faces", path, tmp_path)
    path.write_bytes(b"no")
    with pytest.raises(DataError, match="damaged"):
        DATASETS["faces"].load("faces", path, tmp_path)
    with pytest.raises(DataError, match=r"ask the authors .* datasets\.faces\.path"):
        DATASETS["faces"].load("faces", None, tmp_path)


# --- arrays

IMAGES = RNG.integers(0, 256, (30, 3, 9, 8), np.uint8)
LABELS = RNG.integers(0, 4, 30)


def write_array(path: Path, x: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, x)
    elif path.suffix == ".npz":
        np.savez_compressed(path, x=x, y=LABELS)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("x", data=x, chunks=True, compression="gzip")
            file.create_dataset("y", data=LABELS)
    else:
        scipy.io.savemat(path, {"x": x, "y": LABELS})
    return path


def whole(parts: dict) -> dict[bytes, int | None]:
    return {
        x.tobytes(): i
        for part in parts.values()
        for x, i in zip(part.x, range(99) if part.label is None else part.label)
    }


@pytest.mark.usefixtures("forked_scipy")
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".mat"])
@pytest.mark.parametrize("axes", ["NCHW", "NHWC", "HWCN"])
def test_arrays_of_all_layouts(tmp_path, monkeypatch, suffix, axes):
    monkeypatch.setattr("vaepipe.datasets.sources.array_file.BLOCK_BYTES", 1000)
    path = write_array(tmp_path / f"d{suffix}", IMAGES.transpose(["NCHW".index(axis) for axis in axes]))
    options = {} if suffix == ".npy" else {"key": "x", "labels": "y"}
    parts = prepared(path, "array", tmp_path, threads=2, **options)
    assert len(parts["test"].x) == 15
    expected = {x.tobytes(): int(y) for x, y in zip(IMAGES, LABELS)}
    assert whole(parts) == expected if options else whole(parts).keys() == expected.keys()


@pytest.mark.parametrize(
    ("x", "back"),
    [
        (IMAGES[:, 0] / np.float32(255), IMAGES[:, 0]),
        (IMAGES[:, 0].astype(np.uint16) * 257, IMAGES[:, 0]),
        (IMAGES[:, 0].astype(np.int64), IMAGES[:, 0]),
        (IMAGES[:, 0] > 99, (IMAGES[:, 0] > 99) * np.uint8(255)),
    ],
    ids=["float", "uint16", "int", "bool"],
)
def test_arrays_of_all_types(tmp_path, x, back):
    parts = prepared(write_array(tmp_path / "d.npy", x), "array", tmp_path)
    assert whole(parts).keys() == {image.tobytes() for image in back}


def spoilt(value, at=17):
    x = (IMAGES[:, 0] / 255).astype(np.float64)
    x[at, 3, 3] = value
    return x


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (spoilt(np.nan), "image 17 has the value nan; float64 images lie in 0 to 1"),
        (spoilt(-0.5), "image 17 has the value -0.5"),
        (spoilt(255.0), "image 17 has the value 255.0"),
        (np.full((5, 8, 8), 256), "image 0 has the value 256; int64 images lie in 0 to 255"),
        (np.zeros((5, 8)), "shape (5, 8) is not (N,H,W)"),
        (np.zeros((5, 8, 8, 2)), "shape (5, 8, 8, 2) is not"),
        (np.zeros((0, 8, 8)), "empty"),
        (np.array([["a"]]), "expected numbers"),
    ],
    ids=str,
)
def test_bad_arrays(tmp_path, x, words):
    # the row that is named may be the first of those that a split reads
    assert words in refusal(write_array(tmp_path / "d.npy", x), "array", tmp_path)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".mat", ".txt"])
def test_damaged_array_files(tmp_path, suffix):
    path = tmp_path / f"d{suffix}"
    if suffix != ".txt":
        write_array(path, IMAGES)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    else:
        path.write_text("1 2 3")
    assert str(path) in refusal(path, "array", tmp_path, key=None if suffix == ".npy" else "x")


def test_keys_of_arrays(tmp_path):
    path = write_array(tmp_path / "d.npz", IMAGES)
    assert "several arrays, say which as key; it has x, y" in refusal(path, "array", tmp_path)
    assert "no array 'z'; it has x, y" in refusal(path, "array", tmp_path, key="z")
    assert "expected 30 whole numbers as labels" in refusal(path, "array", tmp_path, key="x", labels="x")


def test_a_checksum_of_ones_own_file(tmp_path):
    import hashlib

    path = write_array(tmp_path / "d.npy", IMAGES)
    good = hashlib.sha256(path.read_bytes()).hexdigest()
    prepared(path, "array", tmp_path, checksum=f"sha256:{good.upper()}")
    bad = "sha256:" + "0" * 64
    line = refusal(path, "array", tmp_path / "again", checksum=bad)
    assert line == f"{path}: wrong checksum {good}, expected {bad} (datasets.mine.checksum)"


def test_rows_are_taken_as_numpy_takes_them(tmp_path, monkeypatch):
    monkeypatch.setattr("vaepipe.datasets.sources.array_file.BLOCK_BYTES", 700)
    path = write_array(tmp_path / "d.h5", IMAGES)
    for rows in ([0], [29], [0, 29], [3, 4, 5, 11, 28], list(range(30))):
        np.testing.assert_array_equal(ArrayFile(path, "x").take(np.array(rows)), IMAGES[rows])


def test_a_tree_is_read_by_several_threads_at_once(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    files = {f"{i:03}.png": encoded(RNG.integers(0, 256, (40, 40), np.uint8)) for i in range(80)}
    for container in ("zip", "tar"):
        found = ImageTree(CONTAINERS[container](tmp_path / f"d.{container}", files))
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(found.read, list(found.names) * 3)) == list(files.values()) * 3
