"""On a real Slurm: a node that dies, trainings that are stopped."""

import re
import signal
import sys
from pathlib import Path

import pandas as pd
import psutil
import torch
import yaml
from conftest import HANGS, RAN, ROOT, SMOKE, start_snakemake, until
from slurm import SNAKEMAKE

from vaepipe.stages.train import train
from vaepipe.study.jobs import Job, weights
from vaepipe.study.study import Study
from vaepipe.tools.plan import merge_configs


def start(slurm, folder, *arguments):
    """Snakemake with the Slurm profile, and where it says what."""
    said = folder / "said"
    RAN.add(slurm.folder)
    arguments = ("--profile", "profiles/slurm", "--directory", folder, *slurm.OPTIONS, *arguments)
    with open(said, "w") as out:
        program = [sys.executable, "-c", SNAKEMAKE]
        return start_snakemake(
            ROOT, *arguments, program=program, stdout=out, stderr=out, env=slurm.environment
        ), said


def hold_training(folder: Path) -> str | None:
    """Stop a training of this study that runs, and return the node that it runs on; None if there is none."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        try:
            if process.info["cwd"] == str(folder) and "vaepipe.stages.train" in process.info["cmdline"]:
                process.suspend()
                if process.status() == psutil.STATUS_STOPPED:
                    return process.environ().get("SLURMD_NODENAME")
        except psutil.Error:  # it has just ended
            continue
    return None


def terminated(process: int) -> bool:
    """Whether SIGTERM waits for a process that stands still."""
    (pending,) = re.findall(r"ShdPnd:\s*(\w+)", Path(f"/proc/{process}/status").read_text())
    return bool(int(pending, 16) >> (signal.SIGTERM - 1) & 1)


def test_a_training_that_slurm_stops_saves_itself_and_continues(slurm, tmp_path):
    """At its time limit or cancelled: another try by Snakemake. Requeued or preempted: the same job again."""
    its = {"grid": {"families": ["vae"], "d_z": [4], "seeds": [0, 1]}, "train": {"epochs": 100}}
    file = tmp_path / "long.yaml"
    file.write_text(yaml.safe_dump({"study": ["digits"], "datasets": {"digits": its}}))
    study = Study(merge_configs([file]))
    cells = {cell.seed: cell for cell in study.cells}
    logs = {seed: tmp_path / Job("train", cell=cell).log for seed, cell in cells.items()}
    models = {seed: weights(cell) for seed, cell in cells.items()}
    running, said = start(slurm, tmp_path, "--configfile", file, "--", *models.values())

    def reached(seed, *marks):
        """Number of the job whose log has these."""
        until(lambda: logs[seed].exists() and all(mark in logs[seed].read_text() for mark in marks), running)
        return slurm.running(f"rule_train_wildcards_digits_vae_1_4_{seed}")

    job = reached(0, "epoch 2/")
    # it makes no progress, as if it were a long one, until Slurm ends it
    (frozen,) = (
        p
        for p in psutil.process_iter(["cmdline", "cwd"])
        if p.info["cwd"] == str(tmp_path) and {"vaepipe.stages.train", models[0]} <= set(p.info["cmdline"])
    )
    frozen.suspend()
    slurm.ask("scontrol", "update", f"JobId={job}", "EndTime=now+1")
    slurm.ask("scancel", reached(1, "epoch 2/"))
    until(lambda: terminated(frozen.pid), running)
    frozen.resume()
    slurm.ask("scontrol", "requeue", reached(0, "continuing", "epoch"))
    assert running.wait(HANGS) == 0, said.read_text()[-6000:]
    for seed, cell in cells.items():
        continued = re.match(r"continuing after epoch (\d+) ", logs[seed].read_text())
        assert continued and 2 <= int(continued[1]) < 100
        whole = [tmp_path / f"{seed}.safetensors", tmp_path / f"{seed}.csv"]
        train(study.model_spec(cell), tmp_path / "results/data/digits.h5", *whole, 60.0, torch.device("cpu"))
        assert (tmp_path / models[seed]).read_bytes() == whole[0].read_bytes()
        assert (tmp_path / Job("train", cell=cell).outputs["history"]).read_bytes() == whole[1].read_bytes()
    tries = {
        seed: [job for job in slurm.jobs() if job["Comment"].endswith(f"_vae_1_4_{seed}")] for seed in cells
    }
    states = {seed: [(job["JobState"], job["Restarts"]) for job in its] for seed, its in tries.items()}
    assert states == {0: [("TIMEOUT", "0"), ("COMPLETED", "1")], 1: [("CANCELLED", "0"), ("COMPLETED", "0")]}
    assert tries[0][1]["TimeLimit"] == "08:00:00"  # twice that of the first try


def rows(folder: Path, name: str, cells: pd.DataFrame | None = None) -> pd.DataFrame:
    """A table; of another study the rows of these cells only."""
    path = folder / "results/tables" / name
    table = pd.read_csv(path) if name.endswith(".csv") else pd.read_parquet(path)
    keys = ["dataset", "family", "beta", "d_z", "seed"]
    return table if cells is None else cells[keys].drop_duplicates().merge(table, on=keys)[table.columns]


def test_slurm_makes_the_same_numbers_though_a_node_dies_under_its_jobs(finished, slurm, tmp_path):
    grid = {"families": ["beta-tcvae"], "betas": [4], "d_z": [4]}
    its = {"grid": grid, "attack": {"lambdas_per_job": "all"}}
    file = tmp_path / "one.yaml"
    file.write_text(yaml.safe_dump({"study": ["digits"], "datasets": {"digits": its}}))
    # the gres variant of the profile for one rule
    on_gpu = [
        "train:gpu=1",
        "evaluate:gpu=1",
        "measure:gpu=1",
        "ball:gpu=1",
        "attack:gpu=0",
        "attack:gres=gpu:1",
    ]
    before = slurm.jobs()
    running, said = start(
        slurm, tmp_path, "--configfile", SMOKE, file, "--set-resources", *on_gpu, "--", "tables"
    )
    held = []  # a training runs on a node when it dies, however fast or loaded the machine is: it is held
    until(lambda: held.append(hold_training(tmp_path)) or held[-1], running)
    slurm.call("kill-node", held[-1])
    assert running.wait(HANGS) == 0, said.read_text()[-6000:]
    for name in ("models.csv", "images.parquet", "attacks.parquet"):
        ours = rows(tmp_path, name)
        pd.testing.assert_frame_equal(ours, rows(finished, name, ours), check_exact=True, obj=name)
        assert len(ours) > 0
    jobs = slurm.jobs()[len(before) :]
    assert sum(int(job["Restarts"]) for job in jobs) >= 1
    assert {job["NodeList"] for job in jobs if job["Restarts"] != "0"} == {"n1", "n2"} - {held[-1]}
    rules = [(job["Comment"].split("_wildcards")[0], job["JobState"], slurm.gpus(job)) for job in jobs]
    assert {row: rules.count(row) for row in rules} == {
        ("rule_train", "COMPLETED", "job"): 1,
        ("rule_evaluate", "COMPLETED", "job"): 1,
        ("rule_attack", "COMPLETED", "node"): 1,
        ("rule_measure", "COMPLETED", "job"): 1,
        ("rule_ball", "COMPLETED", "job"): 1,
        ("rule_collect", "COMPLETED", None): 1,
    }
