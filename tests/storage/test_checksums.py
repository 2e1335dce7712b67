"""Damage of any single bit is named or changes nothing; what is named can be deleted and is made again."""

import random

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from vaepipe.storage import h5, tables, weights
from vaepipe.storage.checksums import USER_BLOCK_BYTES, write_sums
from vaepipe.storage.errors import DataError
from vaepipe.storage.h5 import SCHEMA, create_h5, open_h5, read_text
from vaepipe.tools import verify

RANDOM = np.random.default_rng(0)
ARRAYS = {
    "a": (RANDOM.normal(size=(40, 30)), "numbers"),
    "pictures": (RANDOM.integers(0, 9, (5, 4, 1, 16, 16), np.uint8), "pictures, of several chunks"),
    "n": (np.float64(3), "a number"),
    "few": (np.arange(5), "numbers"),
    "names": (np.array(["l2", "linf"], dtype="S"), "texts"),
    "train/x": (np.arange(100), "in a group"),
    "train/label": (np.arange(3), "in a group"),
    "empty": (np.zeros((0, 3)), "nothing"),
}


PHOTOS = RANDOM.integers(0, 256, (30, 1, 64, 64), np.uint8)
PHOTOS[4::5, :, :32] = 255
"""Too noisy to compress, with a white sky: to a Fletcher checksum words of ones and zeros are the same."""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(h5, "CHUNK_BYTES", 2**11)


def write_h5(path, text="β" * 50):
    with create_h5(
        path, "attack", {"spec": {"beta": 2}, "text": text} | dict.fromkeys("abcdefgh", 1)
    ) as file:
        for name, (array, description) in ARRAYS.items():
            file.add(name, array, description)
        file.add(
            "photos",
            PHOTOS,
            "pictures that are stored as they are",
            (PHOTOS[i : i + 8] for i in range(0, 30, 8)),
        )


def read_h5(path):
    with open_h5(path, "attack") as file:
        arrays = {
            name: (file[name].shape, file[name][()].tobytes()) for name in (*ARRAYS, "photos") if name in file
        }
        there = [
            sorted(file),
            sorted(file["train"]),
            [name in file["train"] for name in ("x", "label", "factors")],
        ]
        return arrays, there, {key: read_text(file, key) for key in file.attrs if key != "git"}


def write_weights(path):
    tensors = {
        "w": torch.randn(20, 5, generator=torch.Generator().manual_seed(0)),
        "n": torch.tensor(3),
        "h": torch.ones(3).bfloat16(),
    }
    weights.write_weights(path, tensors, {"spec": '{"beta": 2}'})


def read_weights(path):
    tensors, meta = weights.read_weights(path)
    return [(name, t.dtype, t.tolist()) for name, t in sorted(tensors.items())], meta


FRAME = pd.DataFrame({"beta": np.arange(300) / 7, "family": ["vae", "β-vae", "x"] * 100})


def write_table(path):
    tables.write_table(path, FRAME)
    write_sums(path.parent / "SHA256SUMS", [path])


def read_table(path):
    return tables.read_table(path).to_dict("list")


KINDS = {
    "x.h5": (write_h5, read_h5),
    "a long text.h5": (lambda path: write_h5(path, "β" * 3000), read_h5),
    "x.safetensors": (write_weights, read_weights),
    "x.csv": (write_table, read_table),
    "x.parquet": (write_table, read_table),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["a bit flips", "512 bytes are lost"])
@pytest.mark.parametrize("name", KINDS)
def test_damage_anywhere_is_named_or_changes_nothing_that_is_read(tmp_path, name, damage):
    write, read = KINDS[name]
    path = tmp_path / name
    write(path)
    whole, before = path.read_bytes(), read(path)
    first = (
        USER_BLOCK_BYTES if path.suffix == ".h5" else 0
    )  # the digest itself, which `vaepipe.tools.verify` reads
    draw = random.Random(0)
    start, end = (
        range(8 * first, 8 * min(len(whole), first + 40), 7),
        range(8 * (len(whole) - 40), 8 * len(whole), 7),
    )
    places, named = [*start, *(draw.randrange(8 * first, 8 * len(whole)) for _ in range(400))], []
    for place in (*places, *end):
        bad = bytearray(whole)
        if damage == "a bit flips":
            bad[place // 8] ^= 1 << place % 8
        else:
            lost = slice(place // 8, min(place // 8 + 512, len(whole)))
            bad[lost] = bytes(lost.stop - lost.start)
        path.write_bytes(bad)
        try:
            assert read(path) == before, place
            named.append(False)
        except DataError as error:
            assert (
                str(path) in str(error)
                and "delete it to have it made again" in str(error)
                and "\n" not in str(error)
            )
            named.append(True)
    assert sum(named[: len(places)]) > 0.95 * len(places)  # the last bytes of an HDF5 file may hold nothing


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_was_cut_anywhere_is_named(tmp_path, name):
    write, read = KINDS[name]
    path = tmp_path / name
    write(path)
    whole = path.read_bytes()
    for length in [0, 1, 100, 512, 600, *(len(whole) * k // 9 for k in range(1, 9)), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=name):
            read(path)


def test_files_that_others_made_are_read_as_they_are(tmp_path):
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        file.attrs["kind"], file.attrs["schema"] = "attack", SCHEMA
        file["a"] = ARRAYS["a"][0]
    with open_h5(tmp_path / "theirs.h5", "attack") as file:
        assert np.array_equal(file["a"][:], ARRAYS["a"][0])
    FRAME.to_csv(tmp_path / "theirs.csv", index=False)
    assert read_table(tmp_path / "theirs.csv")["family"] == FRAME["family"].tolist()


def test_a_sealed_file_is_hdf5_for_everybody(tmp_path):
    write_h5(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        assert np.array_equal(file["a"][:], ARRAYS["a"][0])


def test_verify_names_what_is_damaged_and_deletes_it_when_asked(tmp_path, capsys):
    results = tmp_path / "results"
    results.mkdir()
    for name, (write, _) in KINDS.items():
        if name not in ("x.csv", "a long text.h5"):
            write(results / name)
    assert verify.find_damaged(tmp_path) == []
    (results / ".y.77.tmp.h5").write_bytes(b"half")
    for name in ("x.h5", "x.safetensors", "x.parquet"):
        data = bytearray((results / name).read_bytes())
        data[-30] ^= 4
        (results / name).write_bytes(data)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            verify.main([*map(str, arguments)])
        return ended.value.code, capsys.readouterr().out

    code, said = run("--directory", tmp_path)
    assert code == 1 and len(said.splitlines()) == 4
    assert all(name in said for name in (".y.77.tmp.h5", "x.h5", "x.safetensors", "x.parquet"))
    assert run("--directory", tmp_path, "--delete")[0] == 0
    assert [path.name for path in results.iterdir()] == ["SHA256SUMS"]
    assert run("--directory", tmp_path) == (0, "every HDF5 file, weights and table is as it was written\n")
    with pytest.raises(DataError, match="has no folder results"):
        verify.main(["--directory", str(tmp_path / "nowhere")])
