"""What several tests share: small models and data."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from slurm import Cluster

import vaepipe  # noqa: F401  sets how MKL rounds, before torch multiplies
from vaepipe.study.settings import Model, TrainOptions
from vaepipe.study.specs import ModelSpec

ROOT = Path(__file__).parent.parent
SNAKEMAKE = [sys.executable, "-m", "snakemake"]
PARTS = ["Snakefile", "rules", "vaepipe", "config.yaml", "configs", "profiles", "envs"]
SMOKE = "configs/smoke.yaml"


LONGEST = ["test_workflow", "test_slurm", "test_external", "test_pages", "test_late_files", "test_faults"]


def pytest_collection_modifyitems(items):
    """The files that take longest begin first, so that the processes that share them end together."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def spec():
    """A small model of the digits."""
    return ModelSpec(
        dataset="digits",
        family="beta-tcvae",
        beta=2.0,
        d_z=3,
        seed=0,
        model=Model(network="mlp", hidden=(16,), likelihood="bernoulli", sigma_x=0.1),
        train=TrainOptions(epochs=6, batch_size=64, schedule="cosine", precision="float32"),
    )


def vary(spec, **changes):
    """The spec with other values; a mapping changes keys of a section."""
    values = spec.model_dump()
    for key, value in changes.items():
        values[key] = values[key] | value if isinstance(value, dict) else value
    return type(spec).model_validate(values)


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """The prepared digits, as a file."""
    from vaepipe.stages.prepare import prepare
    from vaepipe.study.specs import PrepareSpec

    path = tmp_path_factory.mktemp("data") / "digits.h5"
    prepare(PrepareSpec(dataset="digits"), path)
    return path


@pytest.fixture
def without_locks(monkeypatch):
    """A file system that has no locks, in this process and those forked from it."""

    def flock(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)


def make_images(count, shape=(1, 8, 8), seed=1):
    """Random images with a third of the pixels at each bound."""
    random = torch.Generator().manual_seed(seed)
    return (torch.rand(count, *shape, generator=random) * 3 - 1).clamp(0, 1)


def run_stage(name, *arguments, **options):
    """`python -m vaepipe.stages.<name>` from outside; returns the finished process."""
    room = "tools" if name in ("plan", "verify") else "stages"
    command = [sys.executable, "-m", f"vaepipe.{room}.{name}", *map(str, arguments)]
    environment = os.environ | {"VAEPIPE_DEVICE": "cpu"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, **options)


@pytest.fixture(scope="module")
def slurm():
    """A cluster of two nodes, taken down after the tests of a file."""
    if missing := [
        program
        for program in ("slurmctld", "munged")
        if not shutil.which(program, path=os.defpath + ":/usr/sbin")
    ]:
        pytest.skip(f"{missing[0]} is not installed (apt-get install slurm-wlm munge)")
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # the path of a socket has to be short
    cluster = Cluster(folder / "cluster")
    yield cluster
    cluster.call("stop")
    folder.rmdir()


def copy_repository(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / part)
    return folder


def environment(given=os.environ) -> dict[str, str]:
    """What Snakemake is started with: no GPU."""
    return {**given, "CUDA_VISIBLE_DEVICES": ""}


def start_snakemake(folder, *arguments, env=os.environ, program=SNAKEMAKE, **options):
    return subprocess.Popen(
        [*program, *map(str, arguments)], cwd=folder, env=environment(env), text=True, **options
    )


def snakemake(folder, *arguments):
    """The finished process; a run that hangs ends after an hour."""
    running = start_snakemake(folder, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = running.communicate(timeout=600)
    return subprocess.CompletedProcess(running.args, running.returncode, out, err)


def until(condition, running=None) -> None:
    """Wait until the condition holds, while ``running`` runs; without it at most 600 s."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < 600 if running is None else running.poll() is None, running
        time.sleep(0.02)


@pytest.fixture(scope="session")
def studies(tmp_path_factory):
    """The finished smoke study, run once for all test processes: its folder, its output, a copy."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, said, copy = shared / "run" / "a study; $HOME & 'more'", shared / "said.txt", shared / "copy"
    with FileLock(shared / "study.lock"):
        if not said.exists():
            copy_repository(folder)
            done = snakemake(folder, "--cores", 2, "--configfile", SMOKE)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
            shutil.copytree(folder, copy)
            said.write_text(done.stdout, encoding="utf-8")
    return folder, said.read_text(encoding="utf-8"), copy


@pytest.fixture(scope="session")
def study(studies):
    """The smoke study's folder, with an awkward name, for the tests that change it, and what the run said."""
    return studies[:2]


@pytest.fixture(scope="session")
def finished(studies):
    """A copy of the smoke study's folder, for the tests that read it."""
    return studies[2]


@pytest.fixture
def changed(study):
    """The folder of the finished study, whose sources are restored after the test."""
    folder, _ = study
    yield folder
    for part in ("vaepipe", "rules"):
        shutil.rmtree(folder / part)
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
