"""What values mean: ranges, types of containers, damaged metadata; and what the log and the file say."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.numpy
import scipy.io
from PIL import Image

from tests.datasets.test_images import encoded, write_files
from vaepipe.datasets import array, folder
from vaepipe.datasets.part import Part
from vaepipe.datasets.sources import array_formats
from vaepipe.datasets.sources.array_file import ArrayFile
from vaepipe.datasets.sources.decoding import decode
from vaepipe.stages import prepare as stage
from vaepipe.storage.errors import DataError
from vaepipe.storage.h5 import open_h5, read_text
from vaepipe.study.specs import PrepareSpec

RNG = np.random.default_rng(0)
BASE = RNG.integers(0, 256, (12, 5, 7), np.uint8)
BASE[0, 0, 0] = 255


def images_of(parts: dict[str, Part]) -> set[bytes]:
    return {image.tobytes() for part in parts.values() for image in np.asarray(part.x)}


def load_array(path: Path, **options) -> dict[str, Part]:
    parts = array.load("mine", path, Path(), **options)
    images_of(parts)
    parts["train"].report()
    return parts


# --- ranges


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", "u8", ">u2", ">i4"])
@pytest.mark.parametrize("white", [1, 15, 16, 63, 100, 127, 1023, 4095, 16383])
def test_values_far_below_white_are_refused_and_maximum_takes_them(tmp_path, dtype, white):
    if white > 255 and np.dtype(dtype).itemsize == 1:
        pytest.skip("the type does not hold it")
    x = np.round(BASE / 255 * white).astype(dtype)
    np.save(tmp_path / "d.npy", x)
    with pytest.raises(DataError) as caught:
        load_array(tmp_path / "d.npy")
    assert "datasets.mine.maximum" in str(caught.value)
    if white < 256 or "u2" in dtype:
        assert f"have values from 0 to {white}, far below" in str(caught.value)
        assert f"the value of white: {white}, or" in str(caught.value)
    parts = load_array(tmp_path / "d.npy", maximum=white)
    expected = np.round(x * (255 / white)).astype(np.uint8)
    assert images_of(parts) == {image.tobytes() for image in expected}
    assert f"0 to {white}, white is {white}" in parts["train"].report()["values"][0]


def test_dark_images_are_taken_if_white_is_given(tmp_path):
    np.save(tmp_path / "d.npy", BASE // 8)
    with pytest.raises(DataError, match="uint8 images have values from 0 to 31, far below 255"):
        load_array(tmp_path / "d.npy")
    assert images_of(load_array(tmp_path / "d.npy", maximum=255)) == {image.tobytes() for image in BASE // 8}


def test_real_numbers_up_to_255(tmp_path):
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["x"] = BASE.astype(np.float64)
    with pytest.raises(DataError, match=r"float64 images lie in 0 to 1, or set datasets\.mine\.maximum"):
        load_array(tmp_path / "d.h5")
    assert images_of(load_array(tmp_path / "d.h5", maximum=255)) == {image.tobytes() for image in BASE}


def load_folder(path: Path, **options) -> tuple[dict[str, Part], dict]:
    parts = folder.load("mine", path, Path(), **{"size": None, "channels": 1, **options})
    images_of(parts)
    return parts, parts["train"].report()


@pytest.mark.parametrize(("dtype", "white"), [("u1", 1), ("u1", 15), ("u2", 1023), ("u2", 4095)])
@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_image_files_far_below_white(tmp_path, dtype, white, kind):
    x = np.round(BASE / 255 * white).astype(dtype)
    path = write_files(tmp_path / "d", {f"{i}.{kind}": encoded(image, kind) for i, image in enumerate(x)})
    with pytest.raises(DataError, match=f"values from 0 to {white}, far below .* white: {white}, or"):
        load_folder(path)
    parts, report = load_folder(path, maximum=white)
    assert images_of(parts) == {np.round(image * (255 / white)).astype(np.uint8).tobytes() for image in x}
    assert report["values"] == [f"0 to {white} of {white}"]


def test_a_tiff_file_that_names_its_white_is_taken(tmp_path):
    x = np.round(BASE / 255 * 4095).astype(np.uint16)
    options = {"tiffinfo": {281: 4095}}
    path = write_files(
        tmp_path / "d", {f"{i}.tif": encoded(image, "tiff", **options) for i, image in enumerate(x)}
    )
    parts, _ = load_folder(path)
    assert images_of(parts) == {np.round(image / 4095 * 255).astype(np.uint8).tobytes() for image in x}


def with_chunk(png: bytes, name: bytes, content: bytes) -> bytes:
    """A PNG file with one more chunk, behind IHDR."""
    end, crc = 8 + 25, zlib.crc32(name + content).to_bytes(4)
    return png[:end] + len(content).to_bytes(4) + name + content + crc + png[end:]


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("white", [31, 63, 127])
def test_a_file_of_8_bits_that_names_another_white_is_not_taken_for_dark(tmp_path, kind, white):
    x = np.round(BASE / 255 * white).astype(np.uint8)
    options = {"tiffinfo": {281: white}} if kind == "tiff" else {}
    files = {f"{i}.{kind}": encoded(image, kind, **options) for i, image in enumerate(x)}
    if kind == "png":
        assert len(load_folder(write_files(tmp_path / "dark", files))[0]) == 2
        bits = bytes([white.bit_length()])
        files = {name: with_chunk(data, b"sBIT", bits) for name, data in files.items()}
    path = write_files(tmp_path / "d", files)
    with pytest.raises(
        DataError, match=f"values from 0 to {white}, far below 255; .* white: {white}, or 255"
    ):
        load_folder(path)
    parts, _ = load_folder(path, maximum=white)
    assert images_of(parts) == {np.round(image * (255 / white)).astype(np.uint8).tobytes() for image in x}


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_significant_bits_of_a_png_file_of_16_bits(tmp_path, bits):
    values = np.round(BASE / 255 * (2**bits - 1)).astype(np.uint16)
    scaled, raw = values << (16 - bits), values
    for name, x in (("scaled", scaled), ("raw", raw)):
        files = {
            f"{i}.png": with_chunk(encoded(image, "png"), b"sBIT", bytes([bits])) for i, image in enumerate(x)
        }
        path = write_files(tmp_path / name, files)
        if name == "scaled":  # as the standard wants it
            assert images_of(load_folder(path)[0]) == {
                np.round(image / 257).astype(np.uint8).tobytes() for image in x
            }
        else:
            with pytest.raises(
                DataError, match=f"from 0 to {2**bits - 1}, far below 65535; .*white: {2**bits - 1}, or"
            ):
                load_folder(path)


@pytest.mark.parametrize("white", [1, 15, 31, 100, 255, 1023, 4095, 65535])
def test_the_white_of_a_pgm_file_is_the_one_that_it_names(tmp_path, white):
    x = np.round(BASE / 255.0 * white).astype(">u2" if white > 255 else "u1")
    files = {f"{i}.pgm": f"P5 7 5 {white}\n".encode() + image.tobytes() for i, image in enumerate(x)}
    back = images_of(load_folder(write_files(tmp_path / "d", files))[0])
    expected = [np.round(image * (255 / white)) for image in x]
    for image in expected:
        assert any(np.abs(np.frombuffer(other, np.uint8).reshape(5, 7) - image).max() <= 1 for other in back)


def test_the_largest_sample_of_a_tiff_file_is_not_its_white(tmp_path):
    x = (BASE.astype(np.uint16) * 200) + 7  # a statistic, no number of bits
    files = {f"{i}.tif": encoded(image, "tiff", tiffinfo={281: int(x.max())}) for i, image in enumerate(x)}
    assert images_of(load_folder(write_files(tmp_path / "d", files))[0]) == {
        np.round(image / 257).astype(np.uint8).tobytes() for image in x
    }


def test_a_maximum_above_255_is_refused_for_files_of_8_bits(tmp_path):
    path = write_files(tmp_path / "d", {f"{i}.png": encoded(image, "png") for i, image in enumerate(BASE)})
    with pytest.raises(DataError, match=r"0\.png: .*pixels of 8 bits, but maximum is 4095"):
        load_folder(path, maximum=4095)


@pytest.mark.parametrize("dtype", ["i2", "i8", "u4", "f4"])
def test_values_above_white_are_refused_with_the_range_of_all(tmp_path, dtype):
    np.save(tmp_path / "d.npy", (BASE.astype(float) * 16).astype(dtype))
    with pytest.raises(
        DataError, match=r"set datasets\.mine\.maximum; all values are from 0(\.0)? to 4080(\.0)?$"
    ):
        load_array(tmp_path / "d.npy")


# --- containers


def write_v73(path: Path, x: np.ndarray) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        values = x.astype(np.uint8) if x.dtype == bool else x
        data = file.create_dataset("x", data=np.ascontiguousarray(values.T))
        data.attrs["MATLAB_class"] = np.bytes_("logical" if x.dtype == bool else str(x.dtype))
        file.create_dataset("#refs#/a", data=[1])


def write_h5(path: Path, x: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = x


def write_tensors(path: Path, x: np.ndarray) -> None:
    safetensors.numpy.save_file({"x": np.ascontiguousarray(x.astype(x.dtype.newbyteorder("=")))}, path)


WRITERS = {
    "a.npy": np.save,
    "b.npz": lambda path, x: np.savez(path, x=x),
    "c.h5": write_h5,
    "d.mat": lambda path, x: scipy.io.savemat(path, {"x": x}),
    "v73.mat": write_v73,
    "e.safetensors": write_tensors,
}
TYPES = {
    "bool": (BASE > 99, (BASE > 99) * np.uint8(255)),
    "uint8": (BASE, BASE),
    "int32": (BASE.astype(np.int32), BASE),
    "int64": (BASE.astype(np.int64), BASE),
    "uint16": (BASE.astype(np.uint16) * 257, BASE),
    "big-endian uint16": (BASE.astype(">u2") * 257, BASE),
    "big-endian int32": (BASE.astype(">i4"), BASE),
    "float32": (BASE / np.float32(255), BASE),
    "float64": (BASE / 255, BASE),
    "big-endian float64": ((BASE / 255).astype(">f8"), BASE),
    "Fortran order": (np.asfortranarray(BASE), BASE),
}


@pytest.mark.usefixtures("forked_scipy")
@pytest.mark.parametrize("file", WRITERS)
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("axes", ["NHW", "NWH", "HWN"])
def test_containers_and_types(tmp_path, file, kind, axes):
    x, expected = TYPES[kind]
    x = np.einsum("NHW->" + axes, x)
    WRITERS[file](tmp_path / file, np.asfortranarray(x) if kind == "Fortran order" else x)
    parts = load_array(tmp_path / file, axes=axes)
    assert images_of(parts) == {image.tobytes() for image in expected}


@pytest.mark.usefixtures("forked_scipy")
@pytest.mark.parametrize("axes", ["NCHW", "NHWC", "HWCN", "NCWH", "NWHC", "WHCN", "CHWN", "CWHN"])
def test_the_versions_of_matlab_agree(tmp_path, axes):
    x = np.einsum("NHWC->" + axes, RNG.integers(0, 256, (12, 5, 7, 3), np.uint8))
    write_v73(tmp_path / "new.mat", x)
    scipy.io.savemat(tmp_path / "old.mat", {"x": x})
    shapes = {ArrayFile(tmp_path / file).shape for file in ("new.mat", "old.mat")}
    assert shapes == {x.shape}
    assert images_of(load_array(tmp_path / "new.mat", axes=axes)) == images_of(
        load_array(tmp_path / "old.mat", axes=axes)
    )


@pytest.mark.usefixtures("forked_scipy")
def test_three_axes_of_matlab_are_not_guessed(tmp_path):
    for shape, axes in (((9, 9, 12), "HWN"), ((12, 9, 9), "NHW"), ((9, 8, 12), None)):
        x = RNG.integers(0, 256, shape, np.uint8)
        scipy.io.savemat(tmp_path / "d.mat", {"x": x, "y": np.arange(12)})
        if axes is None:
            with pytest.raises(DataError, match=r"set datasets\.mine\.axes to NHW or HWN"):
                load_array(tmp_path / "d.mat", key="x")
            axes = load_array(tmp_path / "d.mat", key="x", labels="y")["train"].report()["axes"][0]
            assert axes == "HWN"
        else:
            assert load_array(tmp_path / "d.mat", key="x")["train"].report()["axes"] == [axes]


def test_matlab_4_has_no_images(tmp_path):
    scipy.io.savemat(tmp_path / "d.mat", {"x": np.ones((12, 40))}, format="4")
    with pytest.raises(DataError, match=r"shape \(12, 40\) is not"):
        load_array(tmp_path / "d.mat")


@pytest.mark.usefixtures("forked_scipy")
def test_what_holds_no_numbers_is_no_array(tmp_path):
    scipy.io.savemat(tmp_path / "d.mat", {"a": np.array([1, "b"], object), "b": {"c": 1}, "d": "text"})
    with pytest.raises(DataError, match=r"d\.mat: no arrays of numbers in it$"):
        load_array(tmp_path / "d.mat")
    scipy.io.savemat(tmp_path / "e.mat", {"a": np.array([1, "b"], object), "x": BASE})
    assert images_of(load_array(tmp_path / "e.mat", axes="NHW")) == {image.tobytes() for image in BASE}
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["x"] = h5py.Empty("f4")
        file["gone"] = h5py.ExternalLink("nowhere.h5", "/x")
    with pytest.raises(DataError, match=r"d\.h5, x: shape \(\) is not"):
        load_array(tmp_path / "d.h5")


def test_a_reader_that_crashes_is_one_line(tmp_path, monkeypatch):
    scipy.io.savemat(tmp_path / "d.mat", {"x": BASE})
    monkeypatch.setattr(
        array_formats, "READ_ARRAY", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    )
    with pytest.raises(DataError, match=r"d\.mat: damaged, or not .* \(scipy crashed on it\)"):
        load_array(tmp_path / "d.mat")


def test_a_missing_filter_is_named(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("x", data=BASE, compression="gzip")
    monkeypatch.setattr(array_formats.h5py.h5z, "filter_avail", lambda code: False)
    with pytest.raises(
        DataError, match=r"compressed with the HDF5 filter 1 \(deflate\), which is not installed"
    ):
        load_array(tmp_path / "d.h5")


# --- metadata and frames


def exif(*entries: bytes, more: bytes = b"") -> bytes:
    count = struct.pack("<H", len(entries))
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + count + b"".join(entries) + bytes(4) + more


TURN = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
FAULTS = {
    "-1/0": exif(TURN, struct.pack("<HHII", 0x011A, 10, 1, 38), more=struct.pack("<ii", -1, 0)),
    "0/0": exif(TURN, struct.pack("<HHII", 0x011A, 5, 1, 38), more=bytes(8)),
    "out of the file": exif(TURN, struct.pack("<HHII", 0x010F, 2, 40, 60000)),
    "no offset": exif(TURN, struct.pack("<HHII", 0x8769, 4, 1, 50000)),
    "not text": exif(TURN, struct.pack("<HHI4s", 0x010F, 2, 4, b"\xff\xfe\xe9\0")),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_pictures_with_damaged_metadata_are_turned_and_read(fault, kind):
    image = Image.fromarray(RNG.integers(0, 256, (6, 4, 3), np.uint8))
    options = {"lossless": True} if kind == "webp" else {}
    plain = decode(encoded(image, kind, **options), 3, None, None)
    turned = decode(encoded(image, kind, exif=FAULTS[fault], **options), 3, None, None)
    np.testing.assert_array_equal(turned, np.rot90(plain, -1, (1, 2)))


def test_whatever_a_decoder_raises_names_the_file(tmp_path, monkeypatch):
    path = write_files(tmp_path / "d", {f"{i}.png": encoded(image) for i, image in enumerate(BASE)})

    def fail(*_):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("vaepipe.datasets.sources.decoding._turned", fail)
    with pytest.raises(DataError, match=r"0\.png: not a readable image \(by zero\); repair or remove it"):
        load_folder(path)


def stack(kind: str, frames: int) -> bytes:
    first, *others = [Image.fromarray(RNG.integers(0, 256, (8, 8), np.uint8)) for _ in range(frames)]
    first.save(out := io.BytesIO(), kind, save_all=True, append_images=others)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["tiff", "gif", "png"])
def test_frames(tmp_path, kind):
    path = write_files(tmp_path / "d", {f"{i}.{kind}": stack(kind, 6) for i in range(2)})
    with pytest.raises(
        DataError, match=r"2 images only.*2 files have several pages or frames, see frames: all"
    ):
        load_folder(path)
    write_files(
        path,
        {f"more{i}.png": encoded(image) for i, image in enumerate(RNG.integers(0, 256, (3, 8, 8), np.uint8))},
    )
    parts, report = load_folder(path)
    assert sum(len(part.x) for part in parts.values()) == 5
    assert report["frames"][0].startswith(
        "2 files have several pages or frames, 12 together; the first of each"
    )
    parts, _ = load_folder(path, frames="all")
    assert sum(len(part.x) for part in parts.values()) == 15 and len(images_of(parts)) == 15


def test_suffixes_of_cameras_and_files_without_one(tmp_path):
    image = encoded(BASE[0], "jpeg")
    names = ["a.JPG", "b.jfif", "c.jpe", "d", "e.Jpeg"]
    files = dict.fromkeys(names, image) | {
        "f.png": encoded(BASE[1]),
        "g.avif": encoded(RGB, "avif"),
        "LICENCE": b"text",
    }
    parts, report = load_folder(write_files(tmp_path / "d", files), size=8)
    assert sum(len(part.x) for part in parts.values()) == 7
    assert report["left out"] == ["1 without suffix (no suffix, and not an image by its content)"]


RGB = RNG.integers(0, 256, (9, 8, 3), np.uint8)


# --- what prepare says and refuses


def prepare(path: Path, out: Path, pairs: int | list = 0, **options) -> None:
    stage.prepare(
        PrepareSpec(dataset="mine", kind="folder", path=str(path), options=options), out, pairs=pairs
    )


def test_the_log_and_the_file_say_what_was_taken_as_what(tmp_path, capsys):
    files = {
        f"{split}/{kind}/{i}.png": encoded(RNG.integers(0, 256, (8, 8), np.uint8))
        for split in ("train", "test")
        for kind in ("cat", "dog")
        for i in range(3)
    }
    path = write_files(tmp_path / "d", files | {"a.txt": b"x"})
    prepare(path, tmp_path / "d.h5", pairs=6)
    lines = capsys.readouterr().out.splitlines()
    assert (
        "train: 6 images; classes: cat 3, dog 3" in lines and "test: 6 images; classes: cat 3, dog 3" in lines
    )
    assert "left out: 1 .txt (not an image by its suffix)" in lines
    with open_h5(tmp_path / "d.h5", "data") as file:
        contents, source = (json.loads(read_text(file, key)) for key in ("contents", "source"))
    assert contents == {split: {"images": 6, "classes": {"cat": 3, "dog": 3}} for split in ("train", "test")}
    assert source["left out"] == ["1 .txt (not an image by its suffix)"]


def test_equal_data_at_another_place_give_an_equal_file(tmp_path):
    files = {f"{i}.png": encoded(image) for i, image in enumerate(BASE)}
    for place in ("a", "b"):
        prepare(write_files(tmp_path / place, files), tmp_path / f"{place}.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_pairs_that_cannot_be_are_refused_before_anything_is_trained(tmp_path):
    one, two = (encoded(RNG.integers(0, 256, (8, 8), np.uint8)) for _ in range(2))
    same = write_files(tmp_path / "same", {f"{i}.png": one for i in range(8)})
    with pytest.raises(DataError, match=r"mine: attack\.pairs: 2 pairs are wanted, only 0 of the 4 held-out"):
        prepare(same, tmp_path / "d.h5", pairs=2)
    assert not (tmp_path / "d.h5").exists()
    few = write_files(tmp_path / "few", {f"{i}.png": one if i % 2 else two for i in range(8)})
    with pytest.raises(DataError, match=r"attack\.pairs: 5 is more than the 4 held-out images"):
        prepare(few, tmp_path / "d.h5", pairs=5)
    prepare(few, tmp_path / "d.h5", pairs=2)


@pytest.mark.parametrize(
    ("pairs", "line"),
    [
        ([[0, 1]], "the held-out images [0, 1] are equal in all pixels"),
        ([[2, 3], [0, 1]], "the held-out images [0, 1] are equal in all pixels"),
        ([[2, 4]], "[2, 4] is not two of the 4 held-out images, 0 the first"),
        ([[99, 0]], "[99, 0] is not two of the 4 held-out images, 0 the first"),
        ([[3, 3]], "[3, 3] is not two of the 4 held-out images, 0 the first"),
    ],
)
def test_listed_pairs_that_cannot_be_are_refused_before_anything_is_trained(tmp_path, pairs, line):
    images = [encoded(BASE[i], "png") for i in (0, 0, 1, 2)]
    files = {f"{split}/{i}.png": data for split in ("train", "test") for i, data in enumerate(images)}
    path = write_files(tmp_path / "d", files)
    with pytest.raises(DataError) as caught:
        prepare(path, tmp_path / "d.h5", pairs=pairs)
    assert str(caught.value) == f"mine: attack.pairs: {line}" and not (tmp_path / "d.h5").exists()
    prepare(path, tmp_path / "d.h5", pairs=[[0, 2], [3, 1]])
