"""What several tests share: small models and data."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import aftermath
import forked
import hypothesis
import pytest
import torch
from filelock import FileLock
from slurm import Cluster

import vaepipe  # noqa: F401  sets how MKL rounds, before torch multiplies
from vaepipe.compute import hand_over, job_server
from vaepipe.study.settings import Model, TrainOptions
from vaepipe.study.specs import ModelSpec

ROOT = Path(__file__).parent.parent
SNAKEMAKE = [sys.executable, "-m", "snakemake"]
PARTS = [
    "Snakefile",
    "rules",
    "vaepipe",
    "snakemake_logger_plugin_vaepipe",
    "config.yaml",
    "configs",
    "profiles",
    "envs",
]
SMOKE = "configs/smoke.yaml"
HANGS = 1800
"""Seconds after which a test gives up on what it waits for: many times what a loaded machine needs."""


SLOW = {"finished", "study", "changed", "slurm", "browser", "site"}
"""Fixtures that start a whole study, a cluster or a browser, or build the site."""


@pytest.hookimpl(tryfirst=True)  # before `-m "not slow"` chooses
def pytest_collection_modifyitems(items):
    """The files that take longest begin first, so that the processes that share the tests end together."""
    for item in items:
        if SLOW & set(item.fixturenames):
            item.add_marker(pytest.mark.slow)
    tests = Counter(item.path for item in items)
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: ("slurm" not in item.fixturenames, -slow[item.path] / tests[item.path]))


def pytest_collection_finish():
    """What is imported by then stays, so that the collector of garbage need not look at it in each test."""
    gc.freeze()


def has_slow_ones(config) -> bool:
    """Whether tests are chosen that wait for what they start."""
    return config.option.markexpr != "not slow"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """As many processes as cores, or two more where they wait for what they start; at most 8, of about 1 GB
    each."""
    return min(len(os.sched_getaffinity(0)), 6) + 2 * has_slow_ones(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config):
    """The processes that share the tests have one hash seed, so that a set has one order in all of them, and
    one job server, which has imported what stages need."""
    os.environ.setdefault("PYTHONHASHSEED", "0")
    if has_slow_ones(config):
        loaded = ("vaepipe.stages", "vaepipe.attacks", "vaepipe.metrics")
        os.environ[hand_over.ADDRESS] = job_server.start(*loaded)


SERVED = {}
"""Environment of jobs that the job server of the tests may do, if there is one; of no job whose code a test
edits."""
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("PYTHONHASHSEED", None)  # what tests start has seeds of its own, as it has for users
    SERVED |= {name: os.environ.pop(name) for name in {hand_over.ADDRESS} & os.environ.keys()}
os.environ.setdefault("OMP_NUM_THREADS", "1")  # processes share the cores, and so does what they start
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in the background of a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

RAN: set[Path] = set()
"""Folders in which the test that runs has started Snakemake."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A test that failed shows the logs that the workflow left, as its folder may not outlast the tests."""
    report = yield
    if report.failed:
        report.sections += [(f"logs in {folder}", aftermath.tails(folder)) for folder in sorted(RAN)]
    if call.when == "teardown":
        RAN.clear()
    return report


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="module")
def few_weights():
    """The penalised attack before those of bounded size is at 3 values of λ instead of 40."""
    from vaepipe.attacks import ball

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ball, "WEIGHTS", [2.0**k for k in (-8, 0, 8)])
        yield


@pytest.fixture
def without_locks(monkeypatch):
    """A file system that has no locks, in this process and those forked from it."""

    def flock(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.fixture
def forked_scipy(tmp_path, monkeypatch):
    """Files of MATLAB are read in forks of this process, which has imported scipy."""
    from vaepipe.datasets.sources import array_formats

    def run(command, **_):
        def work():
            _, _, code, *sys.argv[1:] = command
            exec(code, {})

        code, said = forked.end(forked.start(work, tmp_path / "said")), (tmp_path / "said").read_text()
        return subprocess.CompletedProcess(command, code, said, said)

    monkeypatch.setattr(array_formats, "subprocess", SimpleNamespace(run=run))


def make_images(count, shape=(1, 8, 8), seed=1):
    """Random images with a third of the pixels at each bound."""
    random = torch.Generator().manual_seed(seed)
    return (torch.rand(count, *shape, generator=random) * 3 - 1).clamp(0, 1)


def run_stage(name, *arguments, **options):
    """`python -m vaepipe.stages.<name>` from outside; returns the finished process."""
    room = "tools" if name in ("plan", "status", "verify") else "stages"
    command = [sys.executable, "-m", f"vaepipe.{room}.{name}", *map(str, arguments)]
    environment = os.environ | SERVED | {"VAEPIPE_DEVICE": "cpu"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=HANGS, **options)


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


def place(folder, arguments) -> Path:
    """Where the study lies that Snakemake runs."""
    return Path(arguments[arguments.index("--directory") + 1] if "--directory" in arguments else folder)


def start_snakemake(folder, *arguments, env=os.environ, program=SNAKEMAKE, **options):
    RAN.add(place(folder, arguments))
    return subprocess.Popen(
        [*program, *map(str, arguments)], cwd=folder, env=environment(env), text=True, **options
    )


def snakemake(folder, *arguments, env=os.environ):
    """The finished process; what Snakemake imports is there already."""
    RAN.add(place(folder, arguments))
    return forked.snakemake(folder, [*map(str, arguments)], environment(env), HANGS)


def until(condition, running=None) -> None:
    """Wait until the condition holds, while ``running`` runs."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < HANGS and (running is None or running.poll() is None), running
        time.sleep(0.02)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of the finished smoke study, with an awkward name, run once for all test processes; for the
    tests that read it. What the run said lies beside it, said.txt."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, said = shared / "run" / "a study; $HOME & 'more'", shared / "run/said.txt"
    with FileLock(shared / "study.lock"):
        if not said.exists():
            shutil.rmtree(shared / "run", ignore_errors=True)  # of a test process that failed here
            copy_repository(folder)
            arguments = ("--cores", 2, "--configfile", SMOKE, "--logger", "vaepipe")
            running = start_snakemake(folder, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            out, err = running.communicate(timeout=HANGS)
            assert running.returncode == 0, out[-3000:] + err[-6000:]
            said.write_text(err, encoding="utf-8")
    return folder


def copy_study(finished, folder):
    return Path(
        shutil.copytree(finished, folder / finished.name, ignore=shutil.ignore_patterns("log", "__pycache__"))
    )


@pytest.fixture(scope="session")
def study(finished, tmp_path_factory):
    """A copy of the smoke study's folder, for the tests of this process that plan changes of it and run
    nothing."""
    return copy_study(finished, tmp_path_factory.mktemp("copy"))


@pytest.fixture
def changed(study):
    """The copy of the finished study, whose sources are restored after the test."""
    yield study
    for part in ("vaepipe", "rules"):
        shutil.rmtree(study / part)
        shutil.copytree(ROOT / part, study / part, ignore=shutil.ignore_patterns("__pycache__"))
