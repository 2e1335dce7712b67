"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from vaepipe.storage.errors import DataError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a full disk, quota or file size limit."""


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` at the end of the block, or delete it
    after an error.

    Raises:
        DataError: the disk is full, read-only or broken.
    """
    path = Path(path)
    # the name of the machine is part of the name, because process ids repeat between machines and containers
    temporary = path.with_name(f".{path.stem}.{os.uname().nodename}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        advice = "; free some room and start again" if error.errno in DISK_FULL else ""
        raise DataError(f"{path}: {reason}{advice}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
