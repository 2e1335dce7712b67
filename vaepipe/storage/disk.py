"""A file for HDF5 to write to that survives a full disk.

HDF5 cannot close a file that it can no longer write: it leaves pages of its own state, or crashes. So the first failure is
kept from it and raised by us.
"""

from __future__ import annotations

import io
import os


class Disk(io.RawIOBase):
    """A new file, for h5py's driver of file objects; after a failed write nothing is written any more, and ``error`` says why."""

    def __init__(self, path: str | os.PathLike):
        self.error: OSError | None = None
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115  closed by close()

    def write(self, data) -> int:
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
        try:
            return self._file.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def readinto(self, buffer) -> int:
        found = self._file.readinto(buffer)
        memoryview(buffer).cast("B")[found:] = bytes(len(buffer) - found)  # what a failed write left out
        return len(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    writable = seekable = readable

    def close(self) -> None:
        self._file.close()
        super().close()
