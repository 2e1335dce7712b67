"""A job that a server forks ends, writes and hears signals as one that is started by itself."""

import json
import os
import select
import signal
import subprocess
import sys

import pytest
from conftest import HANGS

from vaepipe.compute import hand_over

WORK = """
import json, os, signal, sys, time
from pathlib import Path

if __name__ == "__main__":
    from vaepipe.compute.hand_over import hand_over
    hand_over()

def main():
    facts = {"arguments": sys.argv[1:], "folder": os.getcwd(), "umask": os.umask(0o22), "pid": os.getpid()}
    facts |= {"first": sys.path[0], "mine": os.environ.get("MINE"), "parent": os.getppid()}
    print(json.dumps(facts), flush=True)
    print("said", file=sys.stderr)
    how = sys.argv[1]
    if how == "loaded":
        print(sorted(name for name in sys.modules if name.startswith("vaepipe.figures.")))
        from vaepipe.storage import code_digest
        print(code_digest._meaning.cache_info().misses > 50)
    if how == "read":
        print(sys.stdin.read())
    elif how == "text":
        sys.exit("one line")
    elif how == "error":
        raise ValueError("wrong")
    elif how == "signal":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif how == "catch":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        signal.signal(signal.SIGINT, lambda *_: sys.exit(8))
    elif how.isdigit():
        sys.exit(int(how))
    if how in ("wait", "catch"):
        print("ready", flush=True)
        while True:
            time.sleep(0.05)

if __name__ == "__main__":
    main()
"""
HOLD = """
import sys
from vaepipe.compute import job_server

print(job_server.start(*sys.argv[1:]), flush=True)
sys.stdin.read()
"""
"""A workflow: it starts a server and lives until its input ends."""


@pytest.fixture
def workflow(request):
    """A process that has started a server, and its address; the parameter is what the server loads."""
    command = [sys.executable, "-c", HOLD, *getattr(request, "param", ())]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield holder, holder.stdout.readline().strip()
    holder.kill()
    holder.communicate()


def job(folder, address, *arguments, threads="1", **options):
    """A job that the server with this address may take; no server if it is empty."""
    (folder / "work.py").write_text(WORK)
    environment = os.environ | {"OMP_NUM_THREADS": threads, "MINE": "ö"}
    environment |= {hand_over.ADDRESS: address} if address else {}
    command = [sys.executable, "-m", "work", *arguments]
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, **streams, **options)


def facts(running):
    """What the work says first."""
    return json.loads(running.stdout.readline())


@pytest.mark.parametrize("how", ["0", "3", "text", "error", "signal", "read"])
def test_a_job_says_and_ends_as_without_a_server(workflow, tmp_path, how):
    ends = []
    for address in ("", workflow[1]):
        running = job(tmp_path, address, how, "two words", "é", umask=0o27)
        said = facts(running)
        out, err = running.communicate("given", timeout=HANGS)
        assert (said.pop("pid") == running.pid) == (not address)
        assert (said.pop("parent") == os.getpid()) == (not address)
        ends.append((said, out, err.splitlines()[0], err.splitlines()[-1], running.returncode))
    assert ends[0] == ends[1]
    assert ends[0][0]["umask"] == 0o27 and ends[0][0]["mine"] == "ö" and ends[0][0]["first"] == str(tmp_path)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 7), (signal.SIGINT, 8), (signal.SIGKILL, -9)])
def test_a_signal_to_the_job_reaches_the_work(workflow, tmp_path, number, code):
    running = job(tmp_path, workflow[1], "catch")
    pid = facts(running)["pid"]
    assert running.stdout.readline() == "ready\n" and pid != running.pid
    running.send_signal(number)
    assert running.wait(HANGS) == code
    assert running.stdout.read() == ""  # it ends when the last process that holds it has ended, the fork too


def test_a_signal_that_the_work_does_not_catch_ends_the_job_by_that_signal(workflow, tmp_path):
    running = job(tmp_path, workflow[1], "wait")
    os.kill(facts(running)["pid"], signal.SIGTERM)
    assert running.wait(HANGS) == -signal.SIGTERM


def test_a_killed_server_takes_the_work_with_it(workflow, tmp_path):
    running = job(tmp_path, workflow[1], "wait")
    server = facts(running)["parent"]
    assert running.stdout.readline() == "ready\n"
    os.kill(server, signal.SIGKILL)
    assert running.wait(HANGS) == -signal.SIGKILL
    assert running.stdout.read() == ""


def test_after_the_workflow_is_killed_a_job_goes_on_and_the_server_ends_with_it(workflow, tmp_path):
    holder, address = workflow
    running = job(tmp_path, address, "catch")
    server = facts(running)["parent"]
    assert running.stdout.readline() == "ready\n"
    end = os.pidfd_open(server)
    holder.kill()
    holder.wait(HANGS)
    assert running.poll() is None
    running.terminate()
    assert running.wait(HANGS) == 7
    assert select.select([end], [], [], HANGS)[0]
    os.close(end)
    alone = job(tmp_path, address, "3")  # nobody is there: the job does its work itself
    assert facts(alone)["pid"] == alone.pid and alone.wait(HANGS) == 3


def test_a_job_of_several_threads_does_its_work_itself(workflow, tmp_path):
    running = job(tmp_path, workflow[1], "3", threads="2")
    assert facts(running)["pid"] == running.pid and running.wait(HANGS) == 3


def test_jobs_run_side_by_side(workflow, tmp_path):
    running = [job(tmp_path, workflow[1], "catch") for _ in range(4)]
    assert len({facts(one)["pid"] for one in running} | {one.pid for one in running}) == 8
    for one in running:
        assert one.stdout.readline() == "ready\n"
        one.terminate()
    assert [one.wait(HANGS) for one in running] == [7] * 4


@pytest.mark.slow
@pytest.mark.parametrize("workflow", [("vaepipe.stages", "vaepipe.figures")], indirect=True)
def test_the_server_has_loaded_packages_and_the_digests_of_their_code_and_has_no_threads(workflow, tmp_path):
    running = job(tmp_path, workflow[1], "loaded")
    assert facts(running)["pid"] != running.pid  # with threads it would not serve
    out = running.stdout.read()  # `communicate` would lose what came with the first line
    assert "vaepipe.figures.swissroll" in out and out.endswith("True\n") and running.wait(HANGS) == 0
