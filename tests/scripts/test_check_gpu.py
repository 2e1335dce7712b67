"""scripts/check-gpu on the CPU: it runs where most packages are missing, and says what it could not check."""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import tomllib
from importlib.machinery import SourceFileLoader

import pytest
from conftest import ROOT, SERVED

pytestmark = pytest.mark.slow
SCRIPT = ROOT / "scripts/check-gpu"
THERE = {"h5py", "numpy", "pandas", "scipy", "torch"}
ABSENT = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name.split(".")[0] in {absent} else find(name)
class Absent:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent)
"""


@pytest.fixture(scope="module")
def script():
    """The script as a module."""
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader("check_gpu", SourceFileLoader("check_gpu", str(SCRIPT)))
    )
    module.__spec__.loader.exec_module(module)
    return module


def test_it_runs_to_its_end_on_a_cpu_without_the_packages_of_the_workflow(tmp_path, script):
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    missing = [name for text in listed if (name := re.match(r"[\w-]+", text)[0]) not in THERE]
    absent = {script.IMPORTED_AS.get(name, name) for name in missing}
    (tmp_path / "sitecustomize.py").write_text(ABSENT.format(absent=absent))
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, SCRIPT, "--device", "cpu", "--minutes", "60"], cwd=tmp_path,
                          env=environment, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    head, rule, *lines = done.stdout.splitlines()
    assert (head, rule) == ("| what | result |", "|---|---|")
    rows = dict(line.strip("| ").split(" | ") for line in lines)
    on_gpu_only = {what for what, result in rows.items() if result == "not checked: needs a GPU"}
    assert on_gpu_only == {
        "GPU and CPU, graph and single launches",
        "too little memory, mlp",
        "too little memory, conv",
        "tests that need a GPU",
    }
    assert set(rows["packages missing"].split(", ")) == set(missing)
    assert rows["stages from the command line"] == "not checked: needs pydantic, safetensors"
    for network in ("mlp", "conv"):
        assert rows[f"after kill −9, {network}"] == "the same bits as without"
        assert rows[f"one training, {network}"].startswith("4 steps of 64 in ")
        for batch in (64, 16):
            speeds = re.findall(
                r"([\d,]+) steps/s, ([\d,]+) images/s", rows[f"training, {network}, batch {batch}"]
            )
            ours, loop = ([int(number.replace(",", "")) for number in pair] for pair in speeds)
            for steps, images in (ours, loop):
                assert steps * batch == pytest.approx(images, abs=batch)
        attacks = [rows[f"attack, {network}, 2 × 3, {which}"] for which in ("default batch", "batch 6")]
        assert "largest batch 6 of 6 rows" in attacks[1]
        objectives = [float(re.search(r"mean objective ([\d.e-]+)", text)[1]) for text in attacks]
        assert objectives[0] == pytest.approx(objectives[1], rel=0.01) and objectives[0] > 0
    assert re.fullmatch(
        r"steps/s of all together: 1: [\d,]+, 2: [\d,]+", rows["jobs on one device, mlp, batch 16"]
    )


def test_with_all_packages_the_stages_train_and_attack_and_a_part_that_fails_is_a_row(monkeypatch, script):
    for name, value in (SERVED | {"VAEPIPE_DEVICE": "cpu"}).items():
        monkeypatch.setenv(name, value)
    rows = dict(script.rows_of((script.stages,), 600))
    assert list(rows) == ["stage train, mlp", "stage attack, mlp"]
    assert "epoch 1/1" in rows["stage train, mlp"] and "6 rows, 6 converged" in rows["stage attack, mlp"]

    def breaks(word):
        yield "a row", word
        raise ValueError("for a reason")

    failed = [("a row", "before"), ("breaks before", "FAILED: ValueError: for a reason")]
    assert list(script.rows_of((breaks, "before"), 600)) == failed
    up = "not checked to its end: the time was up"
    assert list(script.rows_of((breaks, "x"), 0)) == [("breaks x", up)]

    def hangs():
        yield "a row", "said"
        signal.pause()

    assert list(script.rows_of((hangs,), 0.5))[-1] == ("hangs", up)
