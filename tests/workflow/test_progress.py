"""What a run says: `snakemake --logger vaepipe` from outside, with a workflow of three jobs."""

import os
import pty
import re
import select
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import HANGS, ROOT, SNAKEMAKE

from snakemake_logger_plugin_vaepipe import Pace
from vaepipe.study.patterns import STAGES
from vaepipe.study.progress import PHASE_OF, duration

SNAKEFILE = """
rule all:
    input: "train.txt", "attack.txt", "plot.txt"
rule train:
    output: "train.txt"
    message: "train a model"
    shell: "touch {output}"
rule attack:
    input: "train.txt"
    output: "attack.txt"
    log: "logs/attack.log"
    message: "attack a model"
    shell: "(seq 60; echo 'error: no such pair'; WHAT {output}) > {log} 2>&1"
rule plot:
    input: "train.txt"
    output: "plot.txt"
    message: "plot a figure"
    shell: "touch {output}"
"""
COMMAND = [*SNAKEMAKE, "--cores", "1", "--keep-going", "--logger", "vaepipe"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


@pytest.fixture
def small(tmp_path):
    """Runs the workflow, whose attack fails or not; returns what it says through a pipe."""

    def run(what, *options):
        (tmp_path / "Snakefile").write_text(SNAKEFILE.replace("WHAT", what))
        return subprocess.run(
            [*COMMAND, *options],
            **{"cwd": tmp_path, "env": ENVIRONMENT, "timeout": HANGS, "capture_output": True, "text": True},
        )

    return SimpleNamespace(run=run, folder=tmp_path)


@pytest.mark.slow
def test_a_failed_job_is_named_with_the_end_of_its_log_and_the_others_go_on(small):
    done = small.run("false")
    lines = done.stderr.splitlines()
    assert done.returncode != 0 and lines[0] == "3 jobs: models 1, attacks 1, figures 1"
    [log] = re.findall(r"^Snakemake's full log: (.*)$", done.stderr, re.M)
    assert "Error in rule attack" in Path(log).read_text(encoding="utf-8")
    at = lines.index("FAILED: attack a model")
    shown = [str(n) for n in range(22, 61)] + ["error: no such pair"]
    assert lines[at + 1] == "  logs/attack.log:" and lines[at + 2] == "    (21 lines before)"
    assert lines[at + 3 : at + 43] == [f"    {line}" for line in shown]
    assert [line.split()[0] for line in lines if " done: 1 job in " in line] == ["models", "figures"]
    assert lines[-1].startswith("1 job failed") and "\r" not in done.stderr and "\x1b" not in done.stderr

    done = small.run("touch")  # only what failed runs again
    assert (
        done.returncode == 0 and done.stderr.startswith("1 job: attacks 1\n") and "FAILED" not in done.stderr
    )


@pytest.mark.slow
def test_ctrl_c_stops_the_jobs_without_calling_them_failed_and_the_same_command_goes_on(small):
    """The signal goes to all processes of the group, as a terminal sends it."""
    (small.folder / "Snakefile").write_text(
        SNAKEFILE.replace("WHAT", "exec sh -c 'echo > begun; read line < never'")
    )
    for name in ("begun", "never"):
        os.mkfifo(small.folder / name)
    begun = os.open(small.folder / "begun", os.O_RDONLY | os.O_NONBLOCK)
    running = subprocess.Popen(
        COMMAND, cwd=small.folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert select.select([begun], [], [], HANGS)[0]
    os.killpg(running.pid, signal.SIGINT)
    said = running.communicate(timeout=HANGS)[1]
    assert running.returncode != 0 and "FAILED" not in said and "failed" not in said
    assert (
        said.splitlines()[-1] == "Interrupted. What is finished stays: the same command goes on from there."
    )
    assert not list((small.folder / ".snakemake/locks").glob("*"))
    done = small.run("touch", "--rerun-incomplete")  # as profiles/default has it
    assert done.returncode == 0 and "models" not in done.stderr and "attacks 1" in done.stderr.splitlines()[0]


@pytest.mark.slow
def test_on_a_terminal_one_line_is_drawn_anew(small):
    (small.folder / "Snakefile").write_text(SNAKEFILE.replace("WHAT", "touch"))
    ours, theirs = pty.openpty()
    running = subprocess.Popen(COMMAND, cwd=small.folder, env=ENVIRONMENT, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    while chunk := read(ours):
        said += chunk
    assert running.wait(HANGS) == 0
    lines = said.decode().replace("\r\n", "\n").split("\n")
    drawn = [line.rpartition("\r\x1b[K")[2] for line in lines]  # what a line ends as
    assert "3 of 3 jobs" in said.decode() and not any(re.match(r"\d of 3 jobs", line) for line in drawn)


def read(terminal) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other end is closed
        return b""


def test_the_time_left_is_that_of_the_jobs_to_do_at_the_pace_so_far():
    now = [0.0]
    pace = Pace(lambda: now[0])
    pace.expected.update(models=4, attacks=6)
    for job in (1, 2):  # two at a time, of 10 s each
        pace.start(job, "train", "")
    assert pace.left() == ""
    now[0] = 10.0
    assert [pace.finish(job)[0] for job in (1, 2)] == ["models", "models"] and not pace.complete("models")
    assert pace.left() == "over 10 s left"  # two models more; of attacks nothing is known
    pace.start(3, "attack", "")
    pace.start(4, "train", "")
    now[0] = 20.0
    pace.finish(3), pace.finish(4)
    assert pace.left() == "about 30 s left"  # 1 model and 5 attacks of 10 s, two at a time
    pace.start(5, "train", "")
    assert pace.finish(5)[0] == "models" and pace.complete("models")


def test_every_stage_has_a_phase_and_times_have_two_units():
    assert set(PHASE_OF) == set(STAGES)
    assert [duration(s) for s in (0.4, 59.6, 3600, 7325)] == ["0 s", "1 min 0 s", "1 h 0 min", "2 h 2 min"]
