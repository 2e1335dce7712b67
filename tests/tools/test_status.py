"""How far a study is, from its files."""

import json

import yaml
from conftest import run_stage

from vaepipe.study.jobs import jobs
from vaepipe.study.study import Study

CONFIG = {"study": ["digits"], "grid": {"families": ["beta-vae"], "betas": [1, 4], "d_z": [2]}}
CONFIG |= {"attack": {"losses": ["latent-kl"], "pairs": 2, "lambdas": [1, 2]}}
LOG = """Job 1: train digits vae
Job 2: train digits beta-vae
Job 3: attack digits vae: latent-kl
Finished jobid: 1 (Rule: train)
[Fri Nov 27 19:00:00 2026]
Error in rule attack:
    jobid: 3
    log: {log} (check log file(s) for error details)

[Fri Nov 27 19:00:01 2026]
"""


def make(folder, job):
    for path in job.outputs.values():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("x")


def status(folder):
    (folder / "my.yaml").write_text(yaml.safe_dump(CONFIG))
    done = run_stage("status", "--configfile", folder / "my.yaml", "--directory", folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_study_that_runs_says_what_runs_what_failed_and_the_time_left(tmp_path):
    listed = jobs(Study(CONFIG))
    trained = [job for job in listed if job.stage == "train"]
    [failed, *_] = [job for job in listed if job.stage == "attack"]
    make(tmp_path, trained[0])
    benchmark = tmp_path / trained[0].benchmark
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text(json.dumps({"s": 90, "max_rss": 200}) + "\n")
    (tmp_path / failed.log).parent.mkdir(parents=True)
    (tmp_path / failed.log).write_text("".join(f"{n}\n" for n in range(9)) + "error: no\n")
    (tmp_path / ".snakemake/log").mkdir(parents=True)
    (tmp_path / ".snakemake/log/1.snakemake.log").write_text(LOG.format(log=failed.log))

    lines = status(tmp_path)
    assert lines[0].startswith(f"1 of {len(listed)} jobs done; nothing runs")
    assert "  models      1 of 2" in lines and "  attacks     0 of 2" in lines
    assert not any("train digits beta-vae" in line for line in lines)  # a run that was killed runs no more
    (tmp_path / ".snakemake/locks").mkdir()
    (tmp_path / ".snakemake/locks/0.input.lock").touch()
    lines = status(tmp_path)
    assert (
        lines[0] == f"1 of {len(listed)} jobs done; over 1 min 30 s left"
    )  # the other model; no attack ended yet
    at = lines.index("running, or waiting in a cluster's queue:")
    assert lines[at + 1] == "  train digits beta-vae"
    [at] = [i for i, line in enumerate(lines) if line.startswith("FAILED: attack ")]
    assert failed.log in lines[at] and lines[at + 1 : at + 7] == [
        "    (5 lines before)", *[f"    {n}" for n in range(5, 9)], "    error: no"
    ]  # fmt: skip


def test_a_finished_study_says_what_was_found_and_where(tmp_path):
    for job in jobs(Study(CONFIG)):
        make(tmp_path, job)
    (tmp_path / "results/headline.txt").write_text("Higher β\ndoes not help.\n\nMore.\n")
    lines = status(tmp_path)
    at = lines.index("Found:  Higher β does not help. Numbers: headline.txt")
    assert [line.split(":")[0] for line in lines[at:]] == ["Found", "Report", "Absent", "Open", "Next"]
