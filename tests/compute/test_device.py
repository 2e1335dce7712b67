"""Leases of GPUs between processes, and seeds."""

import os
import subprocess
import sys

import pytest
import torch
from conftest import ROOT

from vaepipe.compute import device
from vaepipe.storage.errors import DataError

HOLD = """
import sys
from pathlib import Path
from vaepipe.compute import device
print(device.lease(["a", "b"], Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def hold(folder):
    command = [sys.executable, "-c", HOLD, str(folder)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )


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
from vaepipe.compute import device
folder, jobs = Path(sys.argv[1]), int(sys.argv[2])
for turn in range(15):
    if (pid := os.fork()) == 0:  # each holder is a process of its own, which ends without giving anything back
        i = device.lease(["a", "b", "c"], folder, jobs)
        here = folder / f"on-{i}-{os.getpid()}"
        here.touch()
        mine = len(list(folder.glob(f"on-{i}-*")))
        here.unlink()
        os.write(1, f"{i} {mine}\\n".encode())
        os._exit(0)
    os.waitpid(pid, 0)
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_racing_processes_never_are_more_on_a_device_than_allowed_and_use_them_all(tmp_path, jobs):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", RACE, str(tmp_path), str(jobs)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(6)]
    rows = [tuple(map(int, line.split())) for racer in racers for line in racer.communicate()[0].splitlines()]
    assert len(rows) == 6 * 15  # nobody starves
    assert {device for device, _ in rows} == {0, 1, 2}
    assert max(together for _, together in rows) <= jobs


def test_empty_devices_are_taken_first_and_then_shared(tmp_path):
    holders, got = [], []
    for _ in range(4):
        command = [sys.executable, "-c", HOLD.replace("Path(sys.argv[1])", "Path(sys.argv[1]), 2"), str(tmp_path)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        holders.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment))
        got.append(holders[-1].stdout.readline().strip())
    assert got == ["0", "1", "0", "1"]
    for holder in holders:
        holder.communicate()


def test_a_folder_of_locks_that_is_not_ours_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(DataError, match="belongs to another user"):
        device.lease(["a"], tmp_path)


def test_a_folder_without_locks_is_one_line(tmp_path, without_locks):
    with pytest.raises(DataError, match=r"gpu-a\.0\.lock: No locks available: .* set TMPDIR to a local folder$"):
        device.lease(["a"], tmp_path)


def test_a_process_that_asks_again_keeps_its_device(tmp_path):
    assert device.lease(["a", "b"], tmp_path) == 0
    assert device.lease(["a", "b"], tmp_path) == 0


@pytest.mark.parametrize(("visible", "count"), [("0,1", 2), ("", 0), ("-1", 0), ("GPU-abc", 1)])
def test_cuda_visible_devices_is_respected(monkeypatch, visible, count):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert device.visible_gpus() == count


def test_cuda_without_a_gpu_is_one_clear_error(monkeypatch):
    monkeypatch.setenv("VAEPIPE_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DataError, match="torch sees no GPU"):
        device.setup(1)


def test_seeds_differ_by_every_part_and_stay():
    seeds = {
        device.seed_of(*parts)
        for parts in [("train", 0, 1), ("train", 1, 0), ("held-out", 0, 1), ("train", 0), ("train", 0, "1")]
    }
    assert len(seeds) == 5
    assert device.seed_of("train", 0, 1) == device.seed_of("train", 0, 1)
    a, b = (torch.randn(3, generator=device.generator("cpu", "x", 1)) for _ in range(2))
    assert torch.equal(a, b)
