"""Terminals without Greek letters, and names of folders that shells, Snakemake and YAML read otherwise."""

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT, environment

from vaepipe.stages.prepare import prepare
from vaepipe.study.specs import ModelSpec, PrepareSpec

TERMINALS = {
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "C without UTF-8": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "C": {"LANG": "C", "LC_ALL": "C"},
}
PRINTS = "from vaepipe.storage.errors import run_stage; run_stage(lambda: print('\\u03b2 = 4, \\u2016d\\u2016'))"


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
        timeout=600,
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
    train = [
        "-m",
        "vaepipe.stages.train",
        "--spec",
        spec,
        "--data",
        "digits.h5",
        "--out",
        "m.safetensors",
        "--history",
        "h.csv",
    ]
    evaluate = [
        "-m",
        "vaepipe.stages.evaluate",
        "--spec",
        "{}",
        "--data",
        "digits.h5",
        "--model",
        "m.safetensors",
        "--out",
        "e.h5",
    ]
    for arguments in (train, evaluate):
        done = run(arguments, tmp_path, TERMINALS[terminal])
        assert done.returncode == 0 and not done.stderr, done.stderr
    assert (tmp_path / "e.h5").exists()
