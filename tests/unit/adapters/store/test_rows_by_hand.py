"""Whoever writes into the database by hand finds every reader answering, or naming the row that is not ours."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from homeostat.adapters.keys import Ed25519Signer
from homeostat.adapters.store import SqlStore
from homeostat.core.errors import HomeostatError
from homeostat.core.ids import ActorId
from homeostat.model.actor import Actor, Role
from homeostat.model.finding import AGENTS
from homeostat.testing.example_rows import (
    START,
    SteppingClock,
    example_entry,
    example_finding,
    example_occurrence,
    example_proposal,
    example_tick,
    group_key,
)

TABLES = (
    *("proposals", "records", "tallies", "ledger", "actors", "ticks"),
    *("findings", "error_groups", "error_samples", "error_seconds", "error_totals"),
)
BY_HAND = (
    *("garbage", b"\xff\x00", 2**63 - 1, None),
    *(pytest.param(value, marks=pytest.mark.matrix) for value in (-1, "")),  # of kinds that are among the others
)


def opened(folder, signer):
    return SqlStore.open(
        folder / "h.sqlite",
        signer=signer,
        clock=SteppingClock(),
        head_path=folder / "head.json",
        unsafe_skip_head_check=True,
    )


@pytest.fixture
def signer():
    return Ed25519Signer.generate()


@pytest.fixture
def folder(tmp_path, signer):
    store = opened(tmp_path, signer)
    proposal = example_proposal()
    store.proposals.insert(proposal, example_entry("proposal.submitted", subject=proposal.id))
    store.actors.create(actor=Actor(id=ActorId("person-1"), role=Role.OWNER, name="Ann"), token_digest=group_key("t"))
    (group,) = store.findings.record([(group_key("a"), "t", example_occurrence(1))], source=AGENTS).groups
    store.findings.put_findings([(example_finding(group), example_entry("finding.opened"))])
    store.vitals.record_ticks([example_tick(1)])
    store.close()
    return tmp_path


def readers(store):
    proposal, far = example_proposal(), datetime(2200, 1, 1, tzinfo=UTC)
    key = group_key("a")
    return {
        "proposals": [
            lambda: store.proposals.get(proposal.id),
            lambda: store.proposals.find(),
            store.proposals.count_by_state,
            lambda: store.proposals.find_by_diff(proposal.change.diff_digest),
            store.records.pending_records,
            store.records.tallies,
        ],
        "ledger": [store.ledger.head, lambda: list(store.ledger.entries())],
        "actors": [
            store.actors.list_actors,
            lambda: store.actors.get(ActorId("person-1")),
            lambda: store.actors.by_token(group_key("t")),
        ],
        "findings": [
            store.findings.findings,
            store.findings.error_counts,
            lambda: store.findings.count_since(key, START),
            lambda: store.findings.record([(key, "t", example_occurrence(2))], source=AGENTS),
        ],
        "vitals": [lambda: store.vitals.ticks(since=START, until=far), store.vitals.latest],
        "snapshot": [lambda: _read_all(store)],
    }


def _read_all(store):
    with store.snapshot() as snapshot:
        list(snapshot.entries())
        for rows in snapshot.rows():
            assert rows is not None


def columns(path):
    with closing(sqlite3.connect(path)) as database:
        return [(table, row[1]) for table in TABLES for row in database.execute(f"PRAGMA table_info({table})")]


def alter(path, table, column, value):
    """Put the value there; False where the database itself refuses."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        try:
            return database.execute(f"UPDATE {table} SET {column} = ?", (value,)).rowcount > 0
        except sqlite3.IntegrityError:
            return False


@pytest.mark.parametrize("value", BY_HAND, ids=repr)
def test_no_value_in_any_column_makes_a_reader_stumble(folder, signer, value):
    path = folder / "h.sqlite"
    good = path.read_bytes()
    altered = 0
    for table, column in columns(path):
        path.write_bytes(good)
        if not alter(path, table, column, value):
            continue
        altered += 1
        try:
            store = opened(folder, signer)
        except HomeostatError:
            continue
        with closing(store):
            for name, calls in readers(store).items():
                for number, call in enumerate(calls):
                    try:
                        call()
                    except HomeostatError:
                        continue
                    except Exception as error:
                        raise AssertionError(f"{table}.{column}: {name} {number}: {error!r}") from error
    assert altered > 5


@pytest.mark.parametrize(
    ("table", "column", "named"),
    [
        ("actors", "role", "actor person-1"),
        ("findings", "state", "finding"),
        ("findings", "found_us", "finding"),
        ("error_groups", "line", "error group"),
        ("ticks", "start_us", "vitals tick 1"),
        ("tallies", "state", "a tally"),
        ("proposals", "version", "proposal"),
    ],
)
def test_what_cannot_be_read_names_its_row(folder, signer, table, column, named):
    value = 2**63 - 1 if table in ("proposals", "ticks") else "garbage"
    assert alter(folder / "h.sqlite", table, column, value)
    said = []
    with closing(opened(folder, signer)) as store:
        for call in (item for calls in readers(store).values() for item in calls):
            try:
                call()
            except HomeostatError as error:
                said.append((error.code, error.message))
    assert any(code == "row-malformed" and f"the row of {named}" in words for code, words in said), said
