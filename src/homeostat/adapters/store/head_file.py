"""The ledger's head beside the database, written after each commit.

In place, and within one sector, which a disk writes whole or not at all: to replace the file by a new one took
three times as long as the commit itself. Whoever reads meanwhile reads again.
"""

import errno
import logging
import os
import threading
from pathlib import Path

from homeostat.adapters.folders import read_regular, sync_folder
from homeostat.audit.head import HEAD_BYTES, encode_head, parse_head
from homeostat.core.errors import IntegrityFailure, Unavailable
from homeostat.model.ledger import LedgerHead

_log = logging.getLogger(__name__)

_MAX_BYTES = 8192


class HeadFile:
    """Owner of ``ledger-head.json``. A write that fails lets the file lag; the next one catches up."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}")
        self._lock = threading.Lock()
        self._written = 0
        self.failures = 0
        """Writes that failed since this was opened."""

    def read(self) -> LedgerHead | None:
        """Return the head in the file, None when there is none. `IntegrityFailure` when it is no head."""
        try:
            return read_head_file(self._path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(
                "head-file-unreadable",
                f"the ledger's head file {self._path} cannot be read: {error.strerror}",
                hint="look at its owner and mode, or put it back from a backup: homeostat restore FILE",
            ) from error

    def note_written(self, head: LedgerHead) -> None:
        """Take it that the file holds `head`, as was just read and checked."""
        with self._lock:
            self._written = max(self._written, head.size)

    def advance(self, head: LedgerHead) -> None:
        """Write `head` unless the file is further already; durable when it returns.

        Never raises for the disk's sake: what it tells of is committed, and must not seem to have failed.
        """
        with self._lock:
            if head.size <= self._written:
                return  # a later commit of another thread was written meanwhile
            try:
                self._put(head)
            except OSError as error:
                self.failures += 1
                _log.warning("the ledger's head file lags at entry %d: %s", self._written, error)
                return
            self._written = head.size

    def _put(self, head: LedgerHead) -> None:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            self._create(encode_head(head))
            return
        try:
            if os.fstat(fd).st_size != HEAD_BYTES:
                self._create(encode_head(head))  # as an earlier version wrote it, or as somebody left it
                return
            if os.pwrite(fd, encode_head(head), 0) != HEAD_BYTES:
                raise OSError(errno.EIO, "the head was written in part")
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def _create(self, content: bytes) -> None:
        fd = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._temporary.replace(self._path)
        sync_folder(self._path.parent)


def read_head_file(path: Path) -> LedgerHead:
    """Return the head in a file that a hub may be writing. `IntegrityFailure` when it is no head, `OSError`."""
    data = read_regular(path, most_bytes=_MAX_BYTES)
    while True:
        try:
            return parse_head(data)
        except IntegrityFailure:
            # What was read amid a write is whole, or another, when it is read again.
            before, data = data, read_regular(path, most_bytes=_MAX_BYTES)
            if data == before:
                raise
