"""GPUs shared between processes by file locks."""

import os
import subprocess
import sys

import pytest

from vaepipe.compute.gpu_lease import lease_gpu
from vaepipe.storage.errors import DataError

HOLD = """
import sys
from pathlib import Path
from vaepipe.compute.gpu_lease import lease_gpu
print(lease_gpu(["a", "b"], Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def hold(folder, program=HOLD):
    command = [sys.executable, "-c", program, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_two_processes_get_two_devices_and_a_third_waits_until_one_dies(tmp_path):
    first, second = hold(tmp_path), hold(tmp_path)
    assert sorted([first.stdout.readline().strip(), second.stdout.readline().strip()]) == ["0", "1"]
    third = hold(tmp_path)
    first.kill(), second.kill()  # SIGKILL: only the kernel can release
    first.wait(), second.wait()
    assert third.stdout.readline().strip() in ("0", "1")
    third.communicate()


RACE = """
import os, random, sys, time
from pathlib import Path
from vaepipe.compute.gpu_lease import lease_gpu
folder, jobs = Path(sys.argv[1]), int(sys.argv[2])
for turn in range(15):
    if (pid := os.fork()) == 0:  # each holder is a separate process, which ends without releasing anything
        i = lease_gpu(["a", "b", "c"], folder, jobs)
        marker = folder / f"on-{i}-{os.getpid()}"
        marker.touch()
        holders = len(list(folder.glob(f"on-{i}-*")))
        marker.unlink()
        os.write(1, f"{i} {holders}\\n".encode())
        os._exit(0)
    os.waitpid(pid, 0)
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_racing_processes_never_are_more_on_a_device_than_allowed_and_use_them_all(tmp_path, jobs):
    command = [sys.executable, "-c", RACE, str(tmp_path), str(jobs)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    rows = [tuple(map(int, line.split())) for racer in racers for line in racer.communicate()[0].splitlines()]
    assert len(rows) == 6 * 15  # nobody starves
    assert {device for device, _ in rows} == {0, 1, 2}
    assert max(together for _, together in rows) <= jobs


def test_empty_devices_are_taken_first_and_then_shared(tmp_path):
    holders, indices = [], []
    for _ in range(4):
        holders.append(hold(tmp_path, program=HOLD.replace("Path(sys.argv[1])", "Path(sys.argv[1]), 2")))
        indices.append(holders[-1].stdout.readline().strip())
    assert indices == ["0", "1", "0", "1"]
    for holder in holders:
        holder.communicate()


def test_a_folder_of_locks_that_is_not_ours_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(DataError, match="belongs to another user"):
        lease_gpu(["a"], tmp_path)


def test_a_folder_without_locks_is_one_line(tmp_path, without_locks):
    with pytest.raises(
        DataError, match=r"gpu-a\.0\.lock: No locks available: .* set TMPDIR to a local folder$"
    ):
        lease_gpu(["a"], tmp_path)


def test_a_process_that_asks_again_keeps_its_device(tmp_path):
    assert lease_gpu(["a", "b"], tmp_path) == 0
    assert lease_gpu(["a", "b"], tmp_path) == 0
