"""Which device a job computes on, with how many threads, and from which seeds."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import tempfile
import time
from pathlib import Path

from vaepipe.storage.errors import DataError

# MKL otherwise rounds a row of a matrix differently from place to place; read at its first use, free to be set outside
os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # glibc's malloc.h

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What flock says on a file system without locks, such as some mounts of NFS and Lustre."""

_leases: dict = {}


def setup(threads: int):
    """Prepare torch for one job and return its `torch.device`.

    ``VAEPIPE_DEVICE`` (auto, cpu, cuda) decides; ``auto`` takes a GPU where there is one. A GPU is leased by a lock on
    a file that the kernel releases when the process ends, so that no two jobs of a user on one machine share one, or as
    many as ``VAEPIPE_GPU_JOBS_PER_DEVICE`` says.
    """
    import torch

    keep_memory()
    torch.set_num_threads(threads)
    wanted = os.environ.get("VAEPIPE_DEVICE", "auto")
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise DataError("device: cuda was asked for, but torch sees no GPU; set device: auto or cpu")
    torch.backends.cudnn.deterministic = True  # a training that is continued ends with the same bits
    torch.backends.cudnn.allow_tf32 = False  # its rounding is coarser than the attacks' line search
    names = [torch.cuda.get_device_properties(i).uuid for i in range(torch.cuda.device_count())]
    return torch.device("cuda", lease(names, jobs_per_device=int(os.environ.get("VAEPIPE_GPU_JOBS_PER_DEVICE", 1))))


def keep_memory() -> None:
    """Let the C library keep memory that is freed, where it is glibc: by default large tensors are given back to the system and
    come again as pages to be zeroed, which can cost half of a training on a CPU."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**26)):
            libc.mallopt(option, value)


def precision(wanted: str, device) -> str:
    """``float32`` or ``bfloat16``: as wanted, or for ``auto`` bfloat16 where the device multiplies it in hardware of its own."""
    import torch

    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        flags = Path("/proc/cpuinfo")
        fast = flags.exists() and "amx_bf16" in flags.read_text()
    return "bfloat16" if fast else "float32"


def visible_gpus() -> int:
    """NVIDIA GPUs that a process started here may use, counted without importing torch."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return len([name for name in chosen.split(",") if name.strip() not in ("", "-1")])
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


def lease(names: list, folder: Path | None = None, jobs_per_device: int = 1) -> int:
    """Index of a device on which fewer than ``jobs_per_device`` other processes of this user hold a place; waits for one.

    A place is a lock on a file, which the kernel gives back when the process ends, however it ends. Empty devices are
    taken first. A process keeps what it has: asked again, it gets the same device.

    Raises:
        DataError: the folder of the locks belongs to somebody else, or is on a file system without locks.
    """
    folder = folder or Path(tempfile.gettempdir()) / f"vaepipe-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise DataError(f"{folder}: belongs to another user; set TMPDIR to a folder of your own")
    places = [(i, folder / f"gpu-{name}.{k}.lock") for k in range(jobs_per_device) for i, name in enumerate(names)]
    while True:
        for i, path in places:
            if path in _leases:
                return i
        for i, path in places:
            file = open(path, "w")  # noqa: SIM115  held until the process ends
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _leases[path] = file
                return i
            except BlockingIOError:
                file.close()
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                raise DataError(f"{path}: {error.strerror}: GPUs are leased by locks; set TMPDIR to a local folder") from error
        time.sleep(0.2)


def seed_of(*parts) -> int:
    """A 63-bit seed from anything printable, so that every purpose, epoch and row has its own stream."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "little") >> 1


def generator(device, *parts):
    """A `torch.Generator` on ``device``, seeded by `seed_of` the parts."""
    import torch

    return torch.Generator(device).manual_seed(seed_of(*parts))
