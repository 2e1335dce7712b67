"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from vaepipe.storage.errors import DataError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a disk, a quota or a limit says when it is full."""


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary path in the folder of ``path`` that becomes ``path`` if the block ends well, and vanishes otherwise.

    Raises:
        DataError: the disk is full, cannot be written, or fails.
    """
    path = Path(path)
    # with the machine's name: process ids repeat, in containers the first ones always
    temporary = path.with_name(f".{path.stem}.{os.uname().nodename}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        text = error.strerror or " ".join(str(error).split())
        raise DataError(f"{path}: {text}{'; free some room and start again' if error.errno in FULL else ''}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
