"""Opening the store: what is checked, what is caught up, and what stops it."""

import logging
import os
import sqlite3
import stat
import threading
from dataclasses import replace

import pytest

from homeostat.adapters.keys import Ed25519Signer
from homeostat.adapters.store import SqlStore
from homeostat.audit.chain import ChainIntact, head_of, verify_integrity
from homeostat.audit.head import encode_head, parse_head
from homeostat.core.digests import digest_bytes
from homeostat.core.errors import IntegrityFailure, InvalidInput, NotPermitted, Unavailable
from homeostat.model.actor import Actor, Role
from homeostat.testing.example_rows import (
    PERSON,
    SteppingClock,
    example_entry,
    example_occurrence,
    example_proposal,
    example_tick,
    group_key,
    move_entry,
)

SIGNER = Ed25519Signer.generate()


@pytest.fixture
def opened(tmp_path):
    stores = []

    def open_store(**options):
        signer = options.pop("signer", SIGNER)
        store = SqlStore.open(
            tmp_path / "h.sqlite", signer=signer, clock=SteppingClock(), head_path=tmp_path / "head.json", **options
        )
        stores.append(store)
        return store

    yield open_store
    for store in stores:
        store.close()


@pytest.fixture
def head_file(tmp_path):
    return tmp_path / "head.json"


def fill(store, count):
    return [store.ledger.append(example_entry("test.done", body={"n": number})) for number in range(count)]


def tamper(path, *statements):
    """Change the database as somebody with write access to its file would."""
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER IF EXISTS ledger_no_update")
    connection.execute("DROP TRIGGER IF EXISTS ledger_no_delete")
    for statement in statements:
        assert connection.execute(statement).rowcount == 1, statement
    connection.commit()
    connection.close()


class TestFiles:
    def test_the_database_and_its_side_files_are_private(self, opened, tmp_path):
        previous = os.umask(0)
        try:
            fill(opened(), 1)
        finally:
            os.umask(previous)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        assert set(modes) == {"h.sqlite", "h.sqlite-wal", "h.sqlite-shm", "head.json"}
        assert set(modes.values()) == {0o600}

    def test_commits_go_to_a_write_ahead_log_that_is_synced(self, opened, tmp_path):
        store = opened()
        with store._database.reading() as connection:
            settings = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "busy_timeout")
            }
        assert settings == {
            "journal_mode": "wal",
            "synchronous": 2,
            "foreign_keys": 1,
            "secure_delete": 1,
            "busy_timeout": 5000,
        }

    @pytest.mark.parametrize("url", ["postgresql://host/db", "sqlite://", "sqlite:///:memory:"])
    def test_a_database_that_is_no_sqlite_file_is_refused(self, url, tmp_path):
        with pytest.raises(InvalidInput):
            SqlStore.open(url, signer=SIGNER, clock=SteppingClock(), head_path=tmp_path / "head.json")

    def test_a_url_means_its_path(self, tmp_path):
        store = SqlStore.open(
            f"sqlite:///{tmp_path / 'u.sqlite'}",
            signer=SIGNER,
            clock=SteppingClock(),
            head_path=tmp_path / "head.json",
        )
        store.close()
        assert (tmp_path / "u.sqlite").exists()

    def test_a_folder_that_is_not_there_is_unavailable(self, tmp_path):
        with pytest.raises(Unavailable):
            SqlStore.open(
                tmp_path / "none" / "h.sqlite", signer=SIGNER, clock=SteppingClock(), head_path=tmp_path / "head.json"
            )


class TestHeadFile:
    def test_it_follows_every_commit_that_wrote_an_entry(self, opened, head_file):
        store = opened()
        assert not head_file.exists()
        for entry in fill(store, 3):
            assert parse_head(head_file.read_bytes()).size >= entry.seq
        proposal = example_proposal()
        store.proposals.insert(proposal, move_entry(proposal, "submitted", proposal.state))
        assert parse_head(head_file.read_bytes()) == store.ledger.head()
        before = head_file.stat().st_mtime_ns
        store.proposals.save(proposal, None)
        assert head_file.stat().st_mtime_ns == before

    def test_one_that_lags_is_caught_up_and_logged(self, opened, head_file, caplog):
        store = opened()
        entries = fill(store, 5)
        store.close()
        head_file.write_bytes(encode_head(head_of(entries[1])))
        with caplog.at_level(logging.WARNING):
            again = opened()
        assert "the head file is at entry 2, the database at 5" in caplog.text
        assert parse_head(head_file.read_bytes()) == again.ledger.head() == head_of(entries[4])

    def test_one_that_is_missing_is_written(self, opened, head_file):
        fill(opened(), 2)
        head_file.unlink()
        opened()
        assert parse_head(head_file.read_bytes()).size == 2

    @pytest.mark.parametrize(
        ("statements", "code"),
        [
            (["DELETE FROM ledger WHERE seq = 3"], "ledger-truncated"),
            (["DELETE FROM ledger WHERE seq = 3", "DELETE FROM ledger WHERE seq = 2"], "ledger-truncated"),
            (["UPDATE ledger SET subject = 'x' WHERE seq = 3"], "ledger-altered"),
            (["UPDATE ledger SET signature = 'x' WHERE seq = 3"], "ledger-altered"),
            (["UPDATE ledger SET body = '{ }' WHERE seq = 3"], "ledger-altered"),
            (["UPDATE ledger SET body = x'7b7d' WHERE seq = 3"], "ledger-entry-malformed"),
            (["UPDATE ledger SET entry_hash = 'x' WHERE seq = 2"], "ledger-altered"),
            (["DELETE FROM ledger WHERE seq = 2"], "ledger-altered"),
            (["UPDATE ledger SET seq = 9 WHERE seq = 3"], "ledger-altered"),
        ],
    )
    def test_a_database_whose_end_was_changed_does_not_open(self, opened, tmp_path, head_file, statements, code):
        store = opened()
        fill(store, 3)
        store.close()
        witness = head_file.read_bytes()
        tamper(tmp_path / "h.sqlite", *statements)
        for _ in range(2):
            with pytest.raises(IntegrityFailure) as failure:
                opened()
            assert failure.value.code == code
            assert "homeostat verify" in failure.value.hint
        assert head_file.read_bytes() == witness

    def test_an_emptied_ledger_does_not_open(self, opened, tmp_path):
        fill(opened(), 1)
        tamper(tmp_path / "h.sqlite", "DELETE FROM ledger")
        with pytest.raises(IntegrityFailure) as failure:
            opened()
        assert failure.value.code == "ledger-truncated"

    def test_a_ledger_that_grew_another_way_from_a_copy_does_not_open(self, opened, tmp_path, head_file):
        store = opened()
        fill(store, 2)
        store.close()
        older = (tmp_path / "h.sqlite").read_bytes()
        store = opened()
        fill(store, 2)
        store.close()
        witness = head_file.read_bytes()
        (tmp_path / "h.sqlite").write_bytes(older)
        head_file.unlink()
        store = opened()
        store.ledger.append(example_entry("test.other"))
        store.ledger.append(example_entry("test.other"))
        store.close()
        head_file.write_bytes(witness)
        with pytest.raises(IntegrityFailure) as failure:
            opened()
        assert failure.value.code == "ledger-rewritten"

    def test_a_forged_head_file_is_found(self, opened, head_file):
        entries = fill(opened(), 3)
        forged = replace(head_of(entries[0]), signature=Ed25519Signer.generate().sign(b"x"))
        head_file.write_bytes(encode_head(forged))
        with pytest.raises(IntegrityFailure) as failure:
            opened()
        assert failure.value.code == "ledger-head-forged"

    def test_a_torn_head_file_is_found(self, opened, head_file):
        fill(opened(), 3)
        head_file.write_bytes(head_file.read_bytes()[:50])
        with pytest.raises(IntegrityFailure) as failure:
            opened()
        assert failure.value.code == "ledger-head-unreadable"

    def test_a_ledger_of_another_key_does_not_open(self, opened):
        fill(opened(), 1)
        with pytest.raises(IntegrityFailure) as failure:
            opened(signer=Ed25519Signer.generate())
        assert failure.value.code == "ledger-altered"


COLUMNS = {
    "seq": "7",
    "at": "'2026-01-05T09:30:00.000009Z'",
    "kind": "'test.forged'",
    "actor": "'person-ffffffffffff'",
    "subject": "'other'",
    "body": "'{\"n\":9}'",
    "prev_hash": "'" + "1" * 64 + "'",
    "entry_hash": "'" + "1" * 64 + "'",
    "signature": "'AAAA'",
}
SPELLED = {
    "at": "replace(at, 'Z', '+00:00')",
    "body": "body || ' '",
    "kind": "CAST(kind AS BLOB)",
    "entry_hash": "upper(entry_hash)",
    "prev_hash": "prev_hash || char(0)",
    "signature": "signature || char(10)",
    "subject": "subject || ' '",
    "actor": "''",
}


class TestVerifying:
    def test_the_check_can_be_left_out_and_then_nothing_is_caught_up(self, opened, tmp_path, head_file):
        store = opened()
        fill(store, 3)
        store.close()
        witness = head_file.read_bytes()
        tamper(tmp_path / "h.sqlite", "DELETE FROM ledger WHERE seq = 3")
        store = opened(unsafe_skip_head_check=True, read_only=True)
        assert len(store.ledger.entries()) == 2
        assert head_file.read_bytes() == witness

    def test_a_store_opened_for_reading_writes_nothing(self, opened):
        entries = fill(opened(), 2)
        reader = opened(read_only=True)
        assert list(reader.ledger.entries()) == entries
        with pytest.raises(NotPermitted):
            reader.ledger.append(example_entry("a.b"))
        with pytest.raises(NotPermitted):
            reader.vitals.record_ticks([example_tick(1)])

    def test_it_reads_beside_a_hub_that_writes(self, opened):
        writer = opened()
        fill(writer, 1)
        reader = opened(read_only=True)
        fill(writer, 1)
        assert len(reader.ledger.entries()) == 2

    @pytest.mark.parametrize(("column", "value"), [*COLUMNS.items(), *SPELLED.items()])
    def test_every_altered_column_of_a_stored_entry_is_found(self, opened, tmp_path, column, value):
        store = opened()
        fill(store, 5)
        store.close()
        tamper(tmp_path / "h.sqlite", f"UPDATE ledger SET {column} = {value} WHERE seq = 3")
        store = opened(unsafe_skip_head_check=True)
        try:
            report = verify_integrity(store.ledger.entries(), verify=SIGNER.verify)
        except IntegrityFailure as failure:
            assert (failure.code, failure.facts["seq"]) == ("ledger-entry-malformed", "3")
        else:
            assert not isinstance(report, ChainIntact)
            assert report.seq == 3

    def test_the_table_tests_every_column_of_the_ledger(self, opened):
        store = opened()
        with store._database.reading() as connection:
            columns = {row[1] for row in connection.exec_driver_sql("PRAGMA table_info(ledger)")}
        assert set(COLUMNS) == columns


def test_the_ledger_cannot_be_changed_by_a_mistake_of_ours(opened, tmp_path):
    fill(opened(), 1)
    connection = sqlite3.connect(tmp_path / "h.sqlite")
    for statement in ("UPDATE ledger SET kind = 'x.y'", "DELETE FROM ledger"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


def test_a_database_cut_short_while_it_is_open_takes_no_more_entries(opened, tmp_path):
    store = opened()
    fill(store, 3)
    tamper(tmp_path / "h.sqlite", "DELETE FROM ledger WHERE seq = 3")
    with pytest.raises(IntegrityFailure) as failure:
        store.ledger.append(example_entry("a.b"))
    assert failure.value.code == "ledger-truncated"
    assert len(store.ledger.entries()) == 2


def test_two_stores_on_one_file_write_one_chain(opened, tmp_path):
    stores = [opened(), opened()]
    threads = [threading.Thread(target=fill, args=(store, 15)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    report = verify_integrity(stores[0].ledger.entries(), verify=SIGNER.verify)
    assert isinstance(report, ChainIntact)
    assert report.checked == 30
    opened()


def test_a_snapshot_is_one_state_of_the_database_while_others_write(opened):
    store, stop = opened(), threading.Event()

    def write():
        number = 1
        while not stop.is_set():
            row = example_proposal(number)
            store.proposals.insert(row, move_entry(row, "submitted", row.state))
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            with store.snapshot() as seen:
                rows = [row for some in seen.rows() for row in some.proposals]
                assert seen.head.size == len(list(seen.entries())) == len(rows) == len(seen.unrecorded)
            assert seen.problems == {}
    finally:
        stop.set()
        writer.join(timeout=30)
    with store.snapshot() as seen:
        assert seen.head.size > 0


def test_a_snapshot_names_what_it_could_not_read(opened, tmp_path):
    store = opened()
    row = example_proposal()
    store.proposals.insert(row, move_entry(row, "submitted", row.state))
    tamper(tmp_path / "h.sqlite", "UPDATE ledger SET body = x'7b7d'")
    with store.snapshot() as seen:
        (some,) = seen.rows()
        assert (list(seen.entries()), seen.head.size, some.proposals) == ([], 1, [row])
    assert "entry 1 was altered" in seen.problems["ledger"]
    tamper(tmp_path / "h.sqlite", "UPDATE proposals SET document = ''")
    with store.snapshot() as seen:
        assert (list(seen.entries()), list(seen.rows())) == ([], [])
    assert set(seen.problems) == {"ledger", "proposals"}


def test_a_snapshot_gives_rows_piece_by_piece_each_with_the_entries_of_its_own(opened):
    store = opened()
    rows = [example_proposal(number) for number in range(8)]
    for row in rows:
        store.proposals.insert(row, move_entry(row, "submitted", row.state))
    orphan = example_proposal(99)
    store.ledger.append(move_entry(orphan, "submitted", orphan.state))
    store.ledger.append(example_entry("finding.opened", subject=rows[0].id))
    with store.snapshot() as seen:
        pieces = list(seen.rows(at_once=3))
        assert seen.problems == {}
    assert [len(piece.proposals) for piece in pieces] == [3, 3, 2]
    listed = sorted([*rows, orphan], key=lambda row: row.id)
    assert [row for piece in pieces for row in piece.proposals] == [row for row in listed if row is not orphan]
    assert [entry.subject for piece in pieces for entry in piece.moves] == [row.id for row in listed]
    for piece in pieces:
        ids = {row.id for row in piece.proposals}
        assert piece.digests.keys() == ids
        assert {entry.subject for entry in piece.moves} - {orphan.id} == ids


def test_no_byte_of_an_erased_name_stays_in_the_files(opened, tmp_path):
    name = "Zacharias Quixotical Wintergreen"
    store = opened()
    store.actors.create(actor=Actor(id=PERSON, role=Role.OWNER, name=name), token_digest=digest_bytes(b"t"))

    def holders():
        return [path.name for path in tmp_path.iterdir() if name.encode() in path.read_bytes()]

    assert holders() != []
    store.actors.erase_name(PERSON)
    assert holders() == []


def test_an_erasure_that_a_reader_keeps_from_finishing_says_so_and_can_be_repeated(opened):
    store = opened(busy_timeout_s=0.1)
    store.actors.create(actor=Actor(id=PERSON, role=Role.OWNER, name="Ada"), token_digest=digest_bytes(b"t"))
    with store._database.reading() as reader:
        reader.exec_driver_sql("SELECT count(*) FROM actors").all()
        with pytest.raises(Unavailable) as refused:
            store.actors.erase_name(PERSON)
        assert refused.value.code == "erase-unfinished"
    store.actors.erase_name(PERSON)
    assert store.actors.get(PERSON).name is None


@pytest.mark.parametrize("bad", [{"message": "\ud800"}, {"exception_type": "\ud800"}, {"process_id": "\udfff"}])
def test_text_that_is_no_text_is_refused_whole(opened, bad):
    store = opened()
    good = (group_key("a"), "t", example_occurrence(1))
    with pytest.raises(InvalidInput):
        store.findings.record([good, (group_key("b"), "t", example_occurrence(2, **bad))])
    assert store.findings.error_counts() == {}


def test_a_tick_that_is_not_finite_is_refused_whole(opened):
    store = opened()
    with pytest.raises(InvalidInput):
        store.vitals.record_ticks([example_tick(1), example_tick(2, cpu_percent=float("nan"))])
    assert store.vitals.prune(before=example_tick(9).end) == 0


@pytest.mark.parametrize(
    "document",
    [
        "''",
        "'{}'",
        "'[]'",
        "'null'",
        "replace(document, '\"schema\":1', '\"schema\":2')",
        "replace(document, '\"bugfix\"', '\"bug\"')",
        'replace(document, \'"revision":1\', \'"revision":"1"\')',
        "replace(document, '\"apply_requested\":false', '\"apply_requested\":0')",
        "replace(document, '[\"app.py\"]', '\"app.py\"')",
    ],
)
def test_a_row_whose_document_was_altered_into_nonsense_is_an_integrity_failure(opened, tmp_path, document):
    store = opened()
    proposal = example_proposal()
    store.proposals.insert(proposal, move_entry(proposal, "submitted", proposal.state))
    tamper(tmp_path / "h.sqlite", f"UPDATE proposals SET document = {document}")
    with pytest.raises(IntegrityFailure) as failure:
        store.proposals.get(proposal.id)
    assert failure.value.code == "row-malformed"
    assert proposal.id in failure.value.message
