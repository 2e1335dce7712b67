"""A file object for HDF5 that survives a full disk.

HDF5 cannot close a file after a failed write: it prints pages of internal state or crashes. This file object
hides the failure from HDF5 and keeps the error, which the caller raises.
"""

from __future__ import annotations

import io
import os
from typing import Any


class FailSafeFile(io.RawIOBase):
    """A new file for h5py's driver of file objects. After a failed write it writes no more; ``error`` is the
    failure."""

    def __init__(self, path: str | os.PathLike):
        self.error: OSError | None = None
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115  closed by close()

    def write(self, data: Any) -> int:
        """Write all bytes, or none after a failure; in both cases the position moves as if they were
        written."""
        view = memoryview(data).cast("B")
        end = self._file.tell() + len(view)
        done = 0
        while self.error is None and done < len(view):
            try:
                done += self._file.write(view[done:])
            except OSError as error:
                self.error = error
        self._file.seek(end)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Resize the file; keep the first error."""
        try:
            return self._file.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; bytes that a failed write left out are zero."""
        count = self._file.readinto(buffer) or 0
        memoryview(buffer).cast("B")[count:] = bytes(len(buffer) - count)
        return len(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def readable(self) -> bool:
        """Return True, as do `writable` and `seekable`."""
        return True

    writable = seekable = readable

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
