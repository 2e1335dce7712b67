"""Which device a job computes on, with how many threads, and from which seeds."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from pathlib import Path

from vaepipe.store import DataError

# MKL otherwise rounds a row of a matrix differently from place to place; read at its first use, free to be set outside
os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")

_leases: list = []


def setup(threads: int):
    """Prepare torch for one job and return its `torch.device`.

    ``VAEPIPE_DEVICE`` (auto, cpu, cuda) decides; ``auto`` takes a GPU where there is one. A GPU is leased by a lock on
    a file that the kernel releases when the process ends, so that no two jobs of one machine share one.
    """
    import torch

    torch.set_num_threads(threads)
    wanted = os.environ.get("VAEPIPE_DEVICE", "auto")
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise DataError("device: cuda was asked for, but torch sees no GPU; set device: auto or cpu")
    return torch.device("cuda", lease([torch.cuda.get_device_properties(i).uuid for i in range(torch.cuda.device_count())]))


def visible_gpus() -> int:
    """NVIDIA GPUs that a process started here may use, counted without importing torch."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return len([name for name in chosen.split(",") if name.strip() not in ("", "-1")])
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def lease(names: list, folder: Path | None = None) -> int:
    """Index of the first device that no other process holds; waits for the first one if all are held."""
    folder = folder or Path(tempfile.gettempdir()) / f"vaepipe-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    files = [open(folder / f"gpu-{name}.lock", "w") for name in names]  # noqa: SIM115  held until the process ends
    for i, file in enumerate(files):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _leases.append(file)
            return i
        except BlockingIOError:
            continue
    fcntl.flock(files[0], fcntl.LOCK_EX)
    _leases.append(files[0])
    return 0


def seed_of(*parts) -> int:
    """A 63-bit seed from anything printable, so that every purpose, epoch and row has its own stream."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "little") >> 1


def generator(device, *parts):
    """A `torch.Generator` on ``device``, seeded by `seed_of` the parts."""
    import torch

    return torch.Generator(device).manual_seed(seed_of(*parts))
