"""A shared folder that shows files late, as network file systems do: imitated by mount namespaces."""

import fcntl
import importlib.util
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import SMOKE, snakemake

NODE = Path(__file__).parent / "late_node"
MODEL = "results/models/swissroll/vae/beta~1/dz~2/seed~0"
OVERLAY = 'mount -t tmpfs none "$0" && cd "$0" && mkdir a b c && '
OVERLAY += "mount -t overlay none -o lowerdir=a,upperdir=b,workdir=c a"


@pytest.mark.skipif(
    not importlib.util.find_spec("snakemake_executor_plugin_cluster_generic"),
    reason="pip install snakemake-executor-plugin-cluster-generic",
)
def test_files_that_show_late_are_waited_for_and_named_when_the_wait_is_too_short(finished, tmp_path):
    folder, states = tmp_path / "study", tmp_path / "states"
    states.mkdir()
    if subprocess.run(["unshare", "--mount", "sh", "-c", OVERLAY, states]).returncode:
        pytest.skip("an overlay cannot be mounted (needs root)")
    shutil.copytree(finished, folder)
    tables = [
        folder / "results/tables" / name for name in ("models.csv", "images.parquet", "attacks.parquet")
    ]
    lost = [
        *tables,
        *(folder / MODEL / name for name in ("model.safetensors", "history.csv", "evaluation.h5")),
    ]
    before = [path.read_bytes() for path in lost]
    for path in lost:
        path.unlink()

    def run(seconds, *options):
        """The Slurm profile without its executor; a job's files show so many seconds after it has ended."""
        node = [
            shlex.join([str(NODE), *words, str(states)]) for words in (("submit", str(seconds)), ("status",))
        ]
        commands = ("--cluster-generic-submit-cmd", node[0], "--cluster-generic-status-cmd", node[1])
        profile = (
            "--profile",
            "profiles/slurm",
            "--executor",
            "cluster-generic",
            "--seconds-between-status-checks",
            1,
        )
        done = snakemake(folder, *profile, *commands, *options, "--configfile", SMOKE, "--", "tables")
        return done.returncode, done.stdout + done.stderr

    code, said = run(600, "--latency-wait", 1, "--retries", 0)
    assert code != 0 and "MissingOutputException" in said and f"{MODEL}/model.safetensors" in said, said[
        -6000:
    ]
    assert not any(path.exists() for path in lost)
    (states / "show").touch()
    with open(states / "hidden") as hidden:
        fcntl.flock(hidden, fcntl.LOCK_EX)  # it came, but too late
    assert (folder / MODEL / "model.safetensors").exists()
    (states / "show").unlink()
    code, said = run(2)
    assert code == 0 and said.count("Waiting at most 60 seconds for missing files") == 2, said[-6000:]
    assert not re.search(
        r"^train ", said, re.M
    )  # it is made: what showed is taken as it is; evaluate and collect were to do
    assert [path.read_bytes() for path in lost] == before
