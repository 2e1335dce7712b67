"""Files are whole or absent, and describe themselves."""

import os
import signal
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from vaepipe.storage.checksums import write_h5_digest
from vaepipe.storage.errors import DataError
from vaepipe.storage.h5 import open_h5, read_text, write_h5
from vaepipe.storage.tables import read_table, write_rows, write_table
from vaepipe.storage.weights import read_weights, write_weights


def write(path, value=1.0):
    write_h5(
        path, "attack", {"a": (np.full((3, 4), value), "numbers (3, 4), nats")}, {"spec": {"beta": 2}, "n": 3}
    )


def test_an_hdf5_file_describes_itself(tmp_path):
    write(tmp_path / "sub" / "x.h5")
    with open_h5(tmp_path / "sub" / "x.h5", "attack") as file:
        assert read_text(file["a"], "description") == "numbers (3, 4), nats"
        assert read_text(file, "spec") == '{"beta": 2}' and file.attrs["n"] == 3
        assert "torch" in read_text(file, "versions") and file.attrs["git"]
    assert os.listdir(tmp_path / "sub") == ["x.h5"]


def test_the_files_mode_is_the_users_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "x.h5")
        write_weights(tmp_path / "x.safetensors", {"w": torch.ones(2)}, {"spec": "{}"})
        write_rows(tmp_path / "rows.csv", [{"a": 1}])
        for name in ("x.csv", "x.parquet"):
            write_table(tmp_path / name, pd.DataFrame({"a": [1]}))
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == dict.fromkeys(
        ("x.h5", "x.safetensors", "rows.csv", "x.csv", "x.parquet"), 0o640
    )


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.h5"
    write(path, 1.0)
    with pytest.raises(TypeError):
        write_h5(path, "attack", {"a": (np.array([object()]), "")}, {})
    assert os.listdir(tmp_path) == ["x.h5"]
    with open_h5(path, "attack") as file:
        assert file["a"][0, 0] == 1


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.h5"
    write(path, 1.0)
    code = (
        "import os, signal\nfrom vaepipe.storage.atomic import atomic\n"
        f"with atomic({str(path)!r}) as t:\n    t.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code])
    assert done.returncode == -signal.SIGKILL
    with open_h5(path, "attack") as file:
        assert file["a"][0, 0] == 1


@pytest.mark.parametrize("damage", ["missing", "truncated", "text", "kind", "schema"])
def test_a_reader_refuses_by_name_what_it_does_not_know(tmp_path, damage):
    path = tmp_path / "some file.h5"
    if damage != "missing":
        write(path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:500])
    elif damage == "text":
        path.write_text("<html>quota exceeded</html>")
    elif damage == "schema":
        with h5py.File(path, "a") as file:
            file.attrs["schema"] = 99
        write_h5_digest(path)
    kind = "data" if damage == "kind" else "attack"
    with pytest.raises(DataError, match=r"some file\.h5: ") as caught, open_h5(path, kind):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [lambda file: file["new"], lambda file: read_text(file, "new")])
def test_what_another_version_did_not_write_is_one_line(tmp_path, read):
    write_h5(tmp_path / "a.h5", "data", {"old": (np.arange(3), "")}, {})
    with (
        pytest.raises(DataError, match="another version wrote it"),
        open_h5(tmp_path / "a.h5", "data") as file,
    ):
        read(file)
    with pytest.raises(KeyError, match="mine"), open_h5(tmp_path / "a.h5", "data"):
        {}["mine"]


def test_weights_come_back_and_damage_is_named(tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, {"a": torch.arange(6.0).view(2, 3).T}, {"spec": "{}"})
    tensors, meta = read_weights(path)
    assert torch.equal(tensors["a"], torch.arange(6.0).view(2, 3).T) and meta == {"spec": "{}"}
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DataError, match=r"w\.safetensors: not a readable"):
        read_weights(path)
    with pytest.raises(DataError, match="no such file"):
        read_weights(tmp_path / "v.safetensors")


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_tables_come_back(tmp_path, name):
    frame = pd.DataFrame({"beta": [1.0, 0.1], "family": ["vae", "β"], "n": [1, 2]})
    write_table(tmp_path / name, frame)
    pd.testing.assert_frame_equal(read_table(tmp_path / name), frame, check_dtype=False)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_of_a_table_only_the_columns_asked_for_are_read(tmp_path, name):
    table = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": ["x", "y"]})
    table.to_csv(tmp_path / name, index=False) if name.endswith("csv") else table.to_parquet(tmp_path / name)
    found = read_table(tmp_path / name, ("c", "a", "absent"))
    assert sorted(found) == ["a", "c"] and (found == table[list(found)]).all(axis=None)
    pd.testing.assert_frame_equal(read_table(tmp_path / name), table)
