"""GPUs are shared between the processes of a user by file locks."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from vaepipe.storage.errors import DataError
from vaepipe.storage.locks import LOCKS_UNSUPPORTED

SECONDS_BETWEEN_TRIES = 0.2

_held_locks: dict[Path, IO] = {}
"""Locks of this process. The open files keep the locks until the process ends."""


def lease_gpu(gpus: Sequence[str], folder: Path | None = None, jobs_per_gpu: int = 1) -> int:
    """Return the index of a GPU on which fewer than ``jobs_per_gpu`` other processes of this user run; wait
    for one if needed.

    A process holds a place on a GPU by a lock on a file. The kernel releases the lock when the process ends,
    even if the process is killed. Empty GPUs are taken first. A process that asks again gets the same GPU.

    Args:
        gpus: identifiers of the GPUs, used in the names of the lock files.
        folder: folder of the lock files; by default a folder of this user below the temporary folder.

    Raises:
        DataError: the folder belongs to another user, or its file system has no locks.
    """
    folder = folder or Path(tempfile.gettempdir()) / f"vaepipe-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise DataError(f"{folder}: belongs to another user; set TMPDIR to a folder of your own")
    places = [
        (index, folder / f"gpu-{gpu}.{place}.lock")
        for place in range(jobs_per_gpu)
        for index, gpu in enumerate(gpus)
    ]
    for index, path in places:
        if path in _held_locks:
            return index
    while True:
        for index, path in places:
            if _try_lock(path):
                return index
        time.sleep(SECONDS_BETWEEN_TRIES)


def _try_lock(path: Path) -> bool:
    """Lock a file for the rest of this process. Return False if another process holds the lock."""
    file = open(path, "w")  # noqa: SIM115  stays open until the process ends
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    except OSError as error:
        file.close()
        if error.errno not in LOCKS_UNSUPPORTED:
            raise
        raise DataError(
            f"{path}: {error.strerror}: GPUs are shared by file locks; set TMPDIR to a local folder"
        ) from error
    _held_locks[path] = file
    return True
