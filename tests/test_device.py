"""Leases of GPUs between processes, and seeds."""

import os
import subprocess
import sys

import pytest
import torch
from conftest import ROOT

from vaepipe import device, store

HOLD = """
import sys
from pathlib import Path
from vaepipe import device
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
    with pytest.raises(store.DataError, match="torch sees no GPU"):
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
