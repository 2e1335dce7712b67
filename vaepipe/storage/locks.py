"""File locks, and file systems that have none."""

from __future__ import annotations

import errno

LOCKS_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Error numbers of `flock` on a file system without locks, such as some mounts of NFS and Lustre."""
