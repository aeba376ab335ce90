"""The ledger's head beside the database, replaced whole after each commit."""

import logging
import os
import threading
from pathlib import Path

from homeostat.adapters.folders import read_regular, sync_folder
from homeostat.audit.head import encode_head, parse_head
from homeostat.core.errors import Unavailable
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
            data = read_regular(self._path, most_bytes=_MAX_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(
                "head-file-unreadable",
                f"the ledger's head file {self._path} cannot be read: {error.strerror}",
                hint="look at its owner and mode, or put it back from a backup: homeostat restore FILE",
            ) from error
        return parse_head(data)

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
                self._replace(encode_head(head))
            except OSError as error:
                self.failures += 1
                _log.warning("the ledger's head file lags at entry %d: %s", self._written, error)
                return
            self._written = head.size

    def _replace(self, data: bytes) -> None:
        fd = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self._temporary.replace(self._path)
        sync_folder(self._path.parent)
