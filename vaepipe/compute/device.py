"""The device on which a job computes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vaepipe.compute.gpu_lease import lease_gpu
from vaepipe.compute.memory import keep_freed_memory
from vaepipe.storage.errors import DataError

if TYPE_CHECKING:
    import torch


def setup_device(threads: int) -> torch.device:
    """Prepare PyTorch for one job and return the job's device.

    The environment variable ``VAEPIPE_DEVICE`` (auto, cpu, cuda) decides; ``auto`` takes a GPU if there is
    one. A job shares a GPU with at most ``VAEPIPE_GPU_JOBS_PER_DEVICE`` - 1 other jobs, see
    `vaepipe.compute.gpu_lease`.

    Args:
        threads: CPU threads of PyTorch.

    Raises:
        DataError: ``VAEPIPE_DEVICE`` is cuda and there is no GPU, or the GPUs cannot be shared by locks.
    """
    import torch

    keep_freed_memory()
    torch.set_num_threads(threads)
    setting = os.environ.get("VAEPIPE_DEVICE", "auto")
    if setting == "cpu" or (setting == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise DataError("device: the setting is cuda, but torch sees no GPU; set device: auto or cpu")
    torch.backends.cudnn.deterministic = True  # a resumed training ends with the same bits
    torch.backends.cudnn.allow_tf32 = False  # TF32 rounds more coarsely than the attacks' line search allows
    gpus = [str(torch.cuda.get_device_properties(index).uuid) for index in range(torch.cuda.device_count())]
    jobs_per_gpu = int(os.environ.get("VAEPIPE_GPU_JOBS_PER_DEVICE", 1))
    return torch.device("cuda", lease_gpu(gpus, jobs_per_gpu=jobs_per_gpu))


def count_visible_gpus() -> int:
    """Return the number of NVIDIA GPUs that a process started here may use, without importing PyTorch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
