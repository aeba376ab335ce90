"""Foreign failures of the database, as ours: what the caller may do next decides the family."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from homeostat.core.errors import Bug, HomeostatError, IntegrityFailure, InvalidInput, OutcomeUnknown, Unavailable

_PRIMARY = 0xFF
"""Extended result codes of SQLite share the low byte of the primary one (https://www.sqlite.org/rescode.html)."""


@contextmanager
def translated(*, committing: bool = False) -> Iterator[None]:
    """Raise our error for what the database raised within.

    `committing` says that the transaction was on its way out: a failed sync then leaves open whether
    it is on the disk; everything else is known not to have happened.
    """
    try:
        yield
    except exc.TimeoutError as error:
        raise Unavailable("store-busy", "no connection to the database became free in time") from error
    except exc.DBAPIError as error:
        raise _translate(error.orig, committing=committing) from error
    except sqlite3.Error as error:
        raise _translate(error, committing=committing) from error
    except (UnicodeEncodeError, OverflowError) as error:
        # The driver's own words for a lone surrogate, and for an integer beyond 64 bits.
        raise InvalidInput("not-storable", "a text or number cannot be stored in the database") from error


def _translate(error: BaseException | None, *, committing: bool) -> HomeostatError:
    code = getattr(error, "sqlite_errorcode", 0)
    # A write to the log that failed left no whole commit record behind; a failed sync may have.
    unknown = committing and code != sqlite3.SQLITE_IOERR_WRITE
    primary = code & _PRIMARY
    match primary:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return Unavailable(
                "store-locked",
                "another process holds the database's lock",
                hint="try again; if it stays so, look which program keeps homeostat.sqlite open",
            )
        case sqlite3.SQLITE_FULL:
            return Unavailable("disk-full", "the disk of the database is full", hint="free some space, then try again")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            return Unavailable(
                "store-not-writable",
                f"the database cannot be opened or written: {error}",
                hint="check the owner and mode of the state directory and whether its disk is read-only",
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return IntegrityFailure(
                "store-corrupt",
                f"the database is damaged: {error}",
                hint="stop the hub, keep the file as evidence, and restore the last backup",
            )
        case sqlite3.SQLITE_IOERR if unknown:
            return OutcomeUnknown(
                "commit-unknown",
                f"the disk failed while a transaction was being committed: {error}",
                hint="read the row again before you repeat it",
            )
        case sqlite3.SQLITE_IOERR:
            return Unavailable(
                "store-io", f"the disk of the database failed: {error}", hint="check the disk and its free space"
            )
        case _:
            return Bug("store-sql", f"the database refused a statement: {type(error).__name__}: {error}")
