"""Terminals without Greek letters, names of folders that shells, Snakemake and YAML read otherwise, and a
machine without a GPU."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import HANGS, ROOT, SERVED, SMOKE, copy_repository, environment, snakemake, start_snakemake
from PIL import Image
from planning import overlay, planned

from vaepipe.stages.prepare import prepare
from vaepipe.study.specs import ModelSpec, PrepareSpec

pytestmark = pytest.mark.slow
TERMINALS = {
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "C without UTF-8": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "C": {"LANG": "C", "LC_ALL": "C"},
}
PRINTS = (
    "from vaepipe.storage.errors import run_stage; run_stage(lambda: print('\\u03b2 = 4, \\u2016d\\u2016'))"
)


def run(arguments, folder, terminal, **options):
    given = {
        key: value
        for key, value in os.environ.items()
        if key not in ("LANG", "LC_ALL", "PYTHONUTF8", "PYTHONIOENCODING")
    }
    env = environment(given | terminal) | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=env,
        capture_output=True,
        timeout=HANGS,
        **options,
    )


@pytest.mark.parametrize("terminal", TERMINALS)
def test_what_a_terminal_cannot_show_is_printed_as_an_escape(tmp_path, terminal):
    done = run(["-c", PRINTS], tmp_path, TERMINALS[terminal])
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode("utf-8" if terminal == "C" else "latin-1")
    assert said.startswith("β = 4" if terminal == "C" else "\\u03b2 = 4, \\u2016d\\u2016")


@pytest.mark.parametrize("terminal", ["latin-1", "C without UTF-8"])
def test_a_model_is_trained_and_evaluated_whatever_the_terminal_is(tmp_path, terminal):
    prepare(PrepareSpec(dataset="digits"), tmp_path / "digits.h5")
    spec = ModelSpec(family="beta-vae", beta=4, d_z=2, model={"hidden": (4,)}, train={"epochs": 1}).to_json()
    trained = ["--spec", spec, "--out", "m.safetensors", "--history", "h.csv"]
    evaluated = ["--spec", "{}", "--model", "m.safetensors", "--out", "e.h5"]
    work = "from vaepipe.stages import evaluate, train; from vaepipe.storage.errors import run_stage\n"
    for stage, arguments in (("train", trained), ("evaluate", evaluated)):
        work += f"run_stage(lambda: {stage}.main({['--data', 'digits.h5', *arguments]}))\n"
    done = run(["-c", work], tmp_path, TERMINALS[terminal])
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert "epoch 1/1" in done.stdout.decode("latin-1")
    assert (tmp_path / "e.h5").exists()


@pytest.mark.parametrize("name", ["x{y}", "x{"])
def test_a_repository_whose_path_has_braces_is_refused_in_one_line(tmp_path, name):
    folder = copy_repository(tmp_path / name)
    done = snakemake(folder, "-n")
    assert done.returncode != 0 and "Traceback" not in done.stdout + done.stderr
    last = done.stderr.splitlines()[-1]
    assert last == f"error: {folder}: {{ and }} cannot be in this path; rename the folder"


@pytest.mark.parametrize("name", ["a:b 'q' \"d\" #%20", "öä數 $HOME&;"])
def test_a_repository_whose_path_has_other_odd_letters_is_planned_on_any_terminal(
    tmp_path, monkeypatch, name
):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    command = ("-n", "--configfile", SMOKE, "--", "results/data/digits.h5")
    running = start_snakemake(
        copy_repository(tmp_path / name), *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said = running.communicate(timeout=HANGS)[0]
    assert running.returncode == 0, said


def test_equal_files_are_not_prepared_again_whatever_their_folder_dates_and_companions_are(tmp_path):
    folder = copy_repository(tmp_path / "repo")
    (folder / "photos").mkdir()
    random = np.random.default_rng(0)
    for i in range(20):
        Image.fromarray(random.integers(0, 256, (9, 9, 3), np.uint8)).save(folder / f"photos/{i}.png")

    def plan(path):
        own = {"kind": "folder", "path": str(path), "size": 8, "attack": {"pairs": 2}}
        change = overlay(folder, study=["mine"], datasets={"mine": own})
        return "--configfile", change, "--", "results/data/mine.h5"

    done = snakemake(folder, "--cores", 1, *plan("photos"), env=os.environ | SERVED)
    assert done.returncode == 0, done.stderr
    (folder / "photos/.DS_Store").write_bytes(b"x")
    (folder / "photos/Thumbs.db").write_bytes(b"x")
    for picture in (folder / "photos").glob("*.png"):
        picture.touch()
    for path in ("photos", "./photos/", folder / "photos"):
        assert planned(folder, *plan(path)) == {}, path
    (folder / "photos").rename(folder / "ph{o}tos '1'")
    assert planned(folder, *plan("ph{o}tos '1'")) == {}
    Image.new("RGB", (9, 9)).save(folder / "ph{o}tos '1'/3.png")
    assert planned(folder, *plan("ph{o}tos '1'")) == {"prepare": 1}


def test_cuda_without_a_gpu_ends_before_any_job_in_one_line(tmp_path):
    here = ["--directory", tmp_path, "--configfile", SMOKE, "--config", "device=cuda", "--logger", "vaepipe"]
    done = snakemake(ROOT, "--cores", 1, *here, "--", "data")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert done.stderr.rstrip().endswith("PyTorch sees no GPU here; set device: auto or cpu")
    assert not (tmp_path / "results").exists()
