"""Folders whose entries must outlive a loss of power, and files of theirs that may not be files any more."""

import errno
import os
import stat
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in this folder durable; `OSError` when the disk refuses."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_regular(path: Path, *, most_bytes: int) -> bytes:
    """Return the beginning of a file; `OSError` for what is none, which is never waited for (a pipe has no end)."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return file.read(most_bytes)
