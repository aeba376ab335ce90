"""Foreign failures by what the caller may do next."""

import sqlite3

import pytest
from sqlalchemy import exc

from homeostat.adapters.store.failures import translated
from homeostat.core.errors import Bug, IntegrityFailure, InvalidInput, OutcomeUnknown, Unavailable


def failure(code):
    error = sqlite3.OperationalError("as the database put it")
    error.sqlite_errorcode = code
    return error


def translate(error, *, committing=False):
    with pytest.raises(Exception) as raised, translated(committing=committing):
        raise error
    return raised.value


TABLE = [
    (sqlite3.SQLITE_BUSY, Unavailable, "store-locked"),
    (sqlite3.SQLITE_BUSY_SNAPSHOT, Unavailable, "store-locked"),
    (sqlite3.SQLITE_LOCKED, Unavailable, "store-locked"),
    (sqlite3.SQLITE_FULL, Unavailable, "disk-full"),
    (sqlite3.SQLITE_READONLY, Unavailable, "store-not-writable"),
    (sqlite3.SQLITE_READONLY_DBMOVED, Unavailable, "store-not-writable"),
    (sqlite3.SQLITE_CANTOPEN, Unavailable, "store-not-writable"),
    (sqlite3.SQLITE_PERM, Unavailable, "store-not-writable"),
    (sqlite3.SQLITE_IOERR_READ, Unavailable, "store-io"),
    (sqlite3.SQLITE_CORRUPT, IntegrityFailure, "store-corrupt"),
    (sqlite3.SQLITE_NOTADB, IntegrityFailure, "store-corrupt"),
    (sqlite3.SQLITE_ERROR, Bug, "store-sql"),
    (sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, Bug, "store-sql"),
]


@pytest.mark.parametrize(("code", "family", "name"), TABLE)
@pytest.mark.parametrize("wrapped", [False, True])
def test_each_result_code_has_its_family(code, family, name, wrapped):
    error = failure(code)
    found = translate(exc.OperationalError("statement", {}, error) if wrapped else error)
    assert (type(found), found.code) == (family, name)
    assert found.__cause__ is not None


def test_a_sync_that_failed_while_committing_leaves_the_outcome_unknown():
    found = translate(failure(sqlite3.SQLITE_IOERR_FSYNC), committing=True)
    assert (type(found), found.code) == (OutcomeUnknown, "commit-unknown")


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY])
def test_a_write_that_failed_while_committing_did_not_happen(code):
    assert isinstance(translate(failure(code), committing=True), Unavailable)


@pytest.mark.parametrize("error", [OverflowError("too large"), "\ud800"])
def test_values_that_the_driver_cannot_take_are_invalid_input(error):
    if isinstance(error, str):
        with pytest.raises(UnicodeEncodeError) as encoding:
            error.encode()
        error = encoding.value
    assert isinstance(translate(error), InvalidInput)


def test_no_free_connection_is_unavailable():
    assert translate(exc.TimeoutError("pool")).code == "store-busy"


@pytest.mark.parametrize("error", [ValueError("ours"), KeyError("ours"), Bug("x", "y")])
def test_what_is_not_the_databases_is_left_alone(error):
    assert translate(error) is error
