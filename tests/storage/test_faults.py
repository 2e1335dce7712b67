"""Nothing is lost: stages killed at random moments, full and read-only disks, damaged inputs.

The stages run in forks of this process, which has imported torch, so that a kill costs milliseconds.
"""

import ctypes
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import vary
from forked import end, start

from vaepipe.stages import attack, evaluate, prepare, train
from vaepipe.storage.h5 import open_h5
from vaepipe.storage.tables import write_table
from vaepipe.study.specs import PrepareSpec
from vaepipe.study.study import Study

CPU = torch.device("cpu")
CONFIG = {
    "study": ["digits"],
    "datasets": {"digits": {"grid": {"families": ["vae"], "d_z": [3]}}},
    "model": {"hidden": [64]},
    "train": {"epochs": 6, "batch_size": 64},
    "evaluate": {"max_images": 300, "keep": 20},
    "attack": {"lambdas": [0.1, 10], "pairs": 2, "max_iterations": 5},
}
STUDY = Study(CONFIG)
CELL = STUDY.cells[0]
SPEC = STUDY.model_spec(CELL)
ATTACK = STUDY.attack_spec(CELL, "latent-kl")


def killed_until_done(work, kills: int, seconds: float, said: Path, draw: random.Random) -> None:
    """Run the work again and again, killed each time at a moment of its length; then once to its end."""
    for _ in range(kills):
        child = start(work, said)
        time.sleep(draw.uniform(0, seconds))  # the fault is a moment
        os.kill(child, signal.SIGKILL)
        end(child)
    assert end(start(work, said)) == 0, said.read_text()


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    """(what trains a model into a folder, its files' bytes when nothing disturbs it, how long that takes)."""

    def files(folder):
        return folder / "model.safetensors", folder / "history.csv"

    def work(folder):
        return lambda: train.train(SPEC, digits, *files(folder), 0.0, CPU)

    folder = tmp_path_factory.mktemp("whole")
    begun = time.monotonic()
    work(folder)()
    return work, files, [path.read_bytes() for path in files(folder)], time.monotonic() - begun


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1] * 8 + [2, 4, 6])
def test_a_training_killed_at_random_moments_ends_with_the_same_bits(trained, tmp_path, kills, request):
    work, files, whole, seconds = trained
    draw = random.Random(request.node.name)
    killed_until_done(work(tmp_path), kills, 1.2 * seconds, tmp_path / "said", draw)
    assert [path.read_bytes() for path in files(tmp_path)] == whole
    assert len(list(tmp_path.glob(".*.resume*"))) == 1  # the last, until the weights are evaluated


def test_without_locks_two_trainings_at_a_time_both_end_with_the_same_bits(trained, tmp_path, without_locks):
    work, files, whole, _ = trained
    half = tmp_path / ".model.elsewhere.1.tmp.safetensors"  # of a process that may be alive
    half.touch()
    both = [start(work(tmp_path), tmp_path / f"said {i}") for i in range(2)]
    assert [end(child) for child in both] == [0, 0]
    assert [path.read_bytes() for path in files(tmp_path)] == whole
    for i in range(2):
        said = (tmp_path / f"said {i}").read_text()
        assert "No locks available: this file system has no locks" in said and "Traceback" not in said
    assert half.exists() and len(list(tmp_path.glob(".*.resume*"))) == 1


def read_arrays(path):
    """The bytes of all arrays of an attack file."""
    with open_h5(path, "attack") as file:
        return {name: file[name][()].tobytes() for name in file}


@pytest.fixture
def attacked(digits, tmp_path):
    """What attacks a small model into a file."""
    model = tmp_path / "attacked.safetensors"
    train.train(vary(SPEC, train={"epochs": 1}), digits, model, tmp_path / "h.csv", 60.0, CPU)
    return lambda out: lambda: attack.attack(ATTACK, digits, model, out, CPU)


@pytest.mark.slow
def test_an_attack_killed_at_random_moments_twenty_times_leaves_no_half_file_and_ends_with_the_same_rows(
    attacked, tmp_path
):
    attacked(tmp_path / "whole.h5")()  # what it imports on its way is here from now on
    begun = time.monotonic()
    attacked(tmp_path / "again.h5")()
    seconds, draw = time.monotonic() - begun, random.Random(0)
    whole = read_arrays(tmp_path / "whole.h5")
    for _ in range(20):
        child = start(attacked(tmp_path / "a.h5"), tmp_path / "said")
        time.sleep(draw.uniform(0, 1.2 * seconds))
        os.kill(child, signal.SIGKILL)
        end(child)
        if (tmp_path / "a.h5").exists():  # it was quicker; then it is whole
            assert read_arrays(tmp_path / "a.h5") == whole
            (tmp_path / "a.h5").unlink()
    assert end(start(attacked(tmp_path / "a.h5"), tmp_path / "said")) == 0
    assert read_arrays(tmp_path / "a.h5") == whole


def test_a_damaged_checkpoint_is_named_and_the_training_starts_again(trained, tmp_path, monkeypatch):
    work, files, whole, _ = trained
    write = train.write_weights

    def write_and_stop(*given):
        write(*given)
        os.kill(os.getpid(), signal.SIGSTOP)

    with monkeypatch.context() as patch:
        patch.setattr(train, "write_weights", write_and_stop)
        child = start(work(tmp_path), tmp_path / "said")
    os.waitpid(child, os.WUNTRACED)
    os.kill(child, signal.SIGKILL)
    end(child)
    kept = list(tmp_path.glob(".model.resume*.safetensors"))
    data = bytearray(kept[0].read_bytes())
    data[-100] ^= 1
    kept[0].write_bytes(data)
    assert end(start(work(tmp_path), tmp_path / "said")) == 0
    said = (tmp_path / "said").read_text()
    assert f"starting again: {kept[0]}: damaged" in said and "epoch 1/6" in said
    assert [path.read_bytes() for path in files(tmp_path)] == whole


# --- disks ---

LIBC = ctypes.CDLL(None, use_errno=True)
MS_RDONLY, MS_REMOUNT = 1, 32


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own: (folder, what sets its size and whether it can be written)."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(flags, options):
        return LIBC.mount(b"tmpfs", bytes(folder), b"tmpfs", flags, options.encode())

    if mount(0, "size=4k"):
        pytest.skip("a tmpfs cannot be mounted (needs root)")
    yield folder, lambda size, flags=0: mount(MS_REMOUNT | flags, f"size={size}")
    LIBC.umount2(bytes(folder), 2)


STAGES = ["prepare", "train", "evaluate", "attack", "collect", "plot"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a study of one model, whose files are made as they are needed."""
    return tmp_path_factory.mktemp("made")


def stage(name, digits, source: Path, target: Path):
    """(what runs the stage on the files of one folder into another one, the file it makes)."""
    names = {
        "prepare": "d.h5",
        "train": "m.safetensors",
        "evaluate": "e.h5",
        "attack": "a.h5",
        "collect": "t.parquet",
        "plot": "f.pdf",
    }
    out, model = target / names[name], source / names["train"]
    if name == "prepare":
        return lambda: prepare.prepare(PrepareSpec(dataset="digits"), out), out
    if name == "train":
        return lambda: train.train(SPEC, digits, out, target / "h.csv", 60.0, CPU), out
    if name == "evaluate":
        return lambda: evaluate.evaluate(STUDY.evaluate_spec(CELL), digits, model, out, CPU), out
    if name == "attack":
        return lambda: attack.attack(ATTACK, digits, model, out, CPU), out
    with open_h5(source / names["attack"], "attack") as file:
        rows = pd.DataFrame({key: file[key][:].ravel() for key in ("objective", "norm")})
    if name == "collect":
        random = pd.DataFrame({"a": np.random.default_rng(0).normal(size=9000)})
        return lambda: write_table(out, random), out
    from vaepipe.stages import plot

    def draw(data, options):
        from matplotlib.figure import Figure

        figure = Figure()
        figure.subplots().plot(rows["objective"], rows["norm"], "o")
        return figure

    return lambda: plot.write(draw(None, None), [out]), out


@pytest.mark.parametrize("name", STAGES)
def test_a_full_or_read_only_disk_is_one_line_and_no_half_file_and_the_rerun_completes(
    disk, digits, made, tmp_path, name
):
    folder, size = disk
    for earlier in STAGES[: STAGES.index(name)]:
        work, out = stage(earlier, digits, made, made)
        if not out.exists():
            work()
    work, out = stage(name, digits, made, folder)
    assert end(start(work, tmp_path / "said")) == 1, (tmp_path / "said").read_text()
    last = (tmp_path / "said").read_text().splitlines()[-1]
    assert last.startswith("error: ") and "No space left on device" in last and str(folder) in last
    assert not out.exists() and not list(folder.glob(".*tmp*"))
    assert size("4k", MS_RDONLY) == 0
    assert end(start(work, tmp_path / "said")) == 1
    last = (tmp_path / "said").read_text().splitlines()[-1]
    assert last.startswith("error: ") and "Read-only file system" in last and str(folder) in last
    assert size("40m") == 0
    assert end(start(work, tmp_path / "said")) == 0, (tmp_path / "said").read_text()
    assert out.exists()
