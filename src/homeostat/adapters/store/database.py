"""The SQLite file: how connections are opened, and what a transaction is.

One writer at a time: threads of this process queue at a lock of ours, which is fair and does not
poll; other processes are kept out by ``BEGIN IMMEDIATE`` and waited for up to the busy timeout.
Readers see one snapshot for the length of their transaction and are never kept waiting.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import QueuePool

from homeostat.adapters.folders import sync_folder
from homeostat.adapters.store.failures import translated
from homeostat.core.errors import InvalidInput, NotFound, NotPermitted, Unavailable

_BEGIN = "homeostat_begin"
_POOL_SIZE = 8
_POOL_OVERFLOW = 24

_PRAGMAS = (
    "PRAGMA synchronous=FULL",  # a commit that returned survives a power cut
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",  # an erased name must not stay in a free page
    "PRAGMA trusted_schema=OFF",
)


class Database:
    """One open SQLite file, for many threads at once."""

    def __init__(self, path: Path, *, busy_timeout_s: float, read_only: bool) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._read_only = read_only
        self._writer = threading.Lock()
        if read_only:
            if not path.exists():
                raise NotFound("no-database", f"there is no database at {path}")
        else:
            _create_private(path)
        self._engine = create_engine(
            "sqlite://",
            creator=self._connect,
            poolclass=QueuePool,
            pool_size=_POOL_SIZE,
            max_overflow=_POOL_OVERFLOW,
            pool_timeout=busy_timeout_s,
        )
        event.listen(self._engine, "begin", _begin)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees one state of the database throughout."""
        with translated(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in a write transaction: committed at the end, undone on any exception.

        When this returns, what was written is on the disk.
        """
        if self._read_only:
            raise NotPermitted("read-only-store", "this store was opened for reading only")
        if not self._writer.acquire(timeout=self._busy_timeout_s):
            raise Unavailable("store-busy", "other writers of this process took too long")
        try:
            with translated():
                connection = self._engine.connect()
            try:
                yield from self._in_transaction(connection)
            finally:
                with translated():
                    connection.close()
        finally:
            self._writer.release()

    def checkpoint(self) -> bool:
        """Bring the write-ahead log into the database and empty it; False when a reader is in the way."""
        with translated():
            pooled = self._engine.raw_connection()
            try:
                (busy, _frames, _moved) = pooled.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                pooled.close()
        return bool(busy == 0)

    def close(self) -> None:
        self._engine.dispose()

    def _in_transaction(self, connection: Connection) -> Iterator[Connection]:
        with translated():
            transaction = connection.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}).begin()
        try:
            with translated():
                yield connection
        except BaseException:
            with translated():
                transaction.rollback()
            raise
        try:
            with translated(committing=True):
                transaction.commit()
        except BaseException:
            # The state of this connection is not known any more: never give it to anybody else.
            connection.invalidate()
            raise

    def _connect(self) -> sqlite3.Connection:
        mode = "ro" if self._read_only else "rw"
        connection = sqlite3.connect(
            f"file:{quote(str(self._path.absolute()))}?mode={mode}",
            uri=True,
            timeout=self._busy_timeout_s,
            isolation_level=None,  # transactions are begun and ended here, not guessed by the driver
            check_same_thread=False,  # the pool hands a connection to one thread at a time
        )
        try:
            if not self._read_only:
                _require_wal(connection)
            for pragma in _PRAGMAS:
                connection.execute(pragma)
        except BaseException:
            connection.close()
            raise
        return connection


def cursor_of(connection: Connection) -> sqlite3.Cursor:
    """Return a cursor of the driver, for what is done so often that SQLAlchemy's share would be the greater part."""
    return cast(sqlite3.Cursor, connection.connection.cursor())


def database_path(url_or_path: str | Path) -> Path:
    """Return the file that is meant. `InvalidInput` for a database that is not SQLite."""
    if isinstance(url_or_path, Path):
        return url_or_path
    if "://" not in url_or_path:
        return Path(url_or_path)
    scheme, _, rest = url_or_path.partition(":///")
    if scheme != "sqlite" or not rest or rest == ":memory:":
        raise InvalidInput(
            "store-url-unsupported",
            "the store is a SQLite file: give its path, or sqlite:///PATH",
        )
    return Path(rest)


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))


def _require_wal(connection: sqlite3.Connection) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise Unavailable(
            "store-no-wal",
            f"the disk of the database allows no write-ahead log (it stays in mode {mode})",
            hint="put the state directory on a local disk",
        )


def _create_private(path: Path) -> None:
    """Make an empty file, mode 0600, durably; SQLite gives its side files the same mode."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise Unavailable(
            "store-not-writable",
            f"the database {path} cannot be made: {error.strerror}",
            hint="check the owner and mode of the state directory and the free space of its disk",
        ) from error
    os.close(fd)
    sync_folder(path.parent)
