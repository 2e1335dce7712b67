"""The throw-away Slurm cluster of scripts/local-slurm, for the tests."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


# the plugin waits 10 s longer each time that no job has ended before it asks again; this asks every 2 s
SNAKEMAKE = """
import asyncio
from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
RemoteExecutor.sleep = lambda self: asyncio.sleep(2)
main()
"""


class Cluster:
    """A running cluster, and what its scheduler says."""

    OPTIONS = ("--slurm-no-account", "--slurm-status-command", "squeue",
               "--slurm-init-seconds-before-status-checks", "2",
               "--latency-wait", "10", "--default-resources", "mem_mb=1000")  # fmt: skip

    def __init__(self, folder: Path):
        self.folder = folder
        begin = self.call("start").stdout
        said = subprocess.run(["bash", "-c", begin + "env -0"], capture_output=True, text=True, check=True)
        # no GPU is real here: the stages compute on the CPU
        self.environment = dict(item.split("=", 1) for item in said.stdout.split("\0") if item) | {
            "VAEPIPE_DEVICE": "cpu"
        }

    def call(self, *arguments):
        command = [ROOT / "scripts/local-slurm", *arguments, "-d", self.folder]
        return subprocess.run(command, capture_output=True, text=True, check=True)

    def ask(self, *command) -> list[str]:
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=self.environment)
        return done.stdout.splitlines()

    def running(self, comment: str) -> str:
        """Number of the running job whose comment this is."""
        (number,) = (
            row.split()[0] for row in self.ask("squeue", "-htR", "-o%i %k") if row.split()[1] == comment
        )
        return number

    def jobs(self) -> list[dict[str, str]]:
        """Every job of the cluster's life."""
        return [
            dict(re.findall(r"(\w+)=(\S*)", row))
            for row in self.ask("scontrol", "show", "job", "-o")
            if "JobId" in row
        ]

    @staticmethod
    def gpus(job: dict[str, str]) -> str | None:
        """How a job asked for its one GPU: --gpus counts them per job, --gres per node."""
        return next(
            (kind for kind in ("job", "node") if job.get(f"TresPer{kind.title()}") == "gres:gpu:1"), None
        )
