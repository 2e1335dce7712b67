"""The device of a job."""

import pytest
import torch

from vaepipe.compute.device import count_visible_gpus, setup_device
from vaepipe.storage.errors import DataError


@pytest.mark.parametrize(("visible", "count"), [("0,1", 2), ("", 0), ("-1", 0), ("GPU-abc", 1)])
def test_cuda_visible_devices_is_respected(monkeypatch, visible, count):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert count_visible_gpus() == count


def test_cuda_without_a_gpu_is_one_clear_error(monkeypatch):
    monkeypatch.setenv("VAEPIPE_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DataError, match="torch sees no GPU"):
        setup_device(1)
