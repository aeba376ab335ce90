"""The file in which the workflows that were started are remembered: whether it can be used at all."""

import sqlite3
from contextlib import closing
from pathlib import Path

from homeostat.core.errors import IntegrityFailure, Unavailable


def check_flows(database: Path) -> None:
    """Refuse a database of workflows that cannot be read; `IntegrityFailure` (``flows-damaged``)."""
    if not database.exists():
        return
    try:
        with closing(sqlite3.connect(database, timeout=30)) as connection:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        raise Unavailable(
            "store-not-writable",
            f"{database} cannot be opened: {error}",
            hint="check the owner and mode of the state directory and whether its disk is read-only",
        ) from error
    except sqlite3.DatabaseError as error:
        said = str(error)
    if said != "ok":
        raise IntegrityFailure(
            "flows-damaged",
            f"{database} cannot be read: {said}",
            hint=f"put it aside; nothing is lost, the rows say what is left to do: mv {database} {database}.damaged",
        )
