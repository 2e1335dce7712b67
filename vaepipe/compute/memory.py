"""How the C library handles freed memory."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Options of glibc's `mallopt`, from its malloc.h."""


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next allocation; do nothing on other C libraries.

    By default glibc returns large tensors to the system and gets them back as pages that must be zeroed. This
    can take half of the time of a training on a CPU.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**26)):
            libc.mallopt(option, value)
