"""The store when things go wrong: nothing accepted is lost, nothing half is kept, and nothing is called
tampering that a crash can explain."""

import logging
import os
import random
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from homeostat.adapters.keys import load_or_create_keys
from homeostat.adapters.store import SqlStore
from homeostat.audit.chain import ChainIntact, head_of, verify_integrity
from homeostat.audit.head import compare_head, parse_head
from homeostat.core.errors import IntegrityFailure, Unavailable
from homeostat.testing.example_rows import (
    SteppingClock,
    example_entry,
    example_proposal,
    move_entry,
)

WRITER = """
import sys, threading
from dataclasses import replace
from pathlib import Path
from homeostat.adapters.keys import load_or_create_keys
from homeostat.adapters.store import SqlStore
from homeostat.testing.example_rows import SteppingClock, example_entry, example_proposal, move_entry

folder, first = Path(sys.argv[1]), int(sys.argv[2])
keys = load_or_create_keys(folder)
store = SqlStore.open(folder / "h.sqlite", signer=keys.signer, clock=SteppingClock(), head_path=folder / "head.json")
talk = threading.Lock()

def accepted(seq, proposal, version):
    with talk:
        print(seq, proposal, version, flush=True)

def work(number):
    while True:
        row = example_proposal(number)
        entry = store.proposals.insert(row, move_entry(row, "submitted", row.state))
        accepted(entry.seq, row.id, 1)
        saved = store.proposals.save(row, example_entry("proposal.noted", subject=row.id))
        accepted(0, saved.id, saved.version)
        number += 2

for start in (first, first + 1):
    threading.Thread(target=work, args=(start,)).start()
"""


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def keys(state):
    return load_or_create_keys(state)


@pytest.fixture
def opened(state, keys):
    stores = []

    def open_store(**options):
        store = SqlStore.open(
            state / "h.sqlite", signer=keys.signer, clock=SteppingClock(), head_path=state / "head.json", **options
        )
        stores.append(store)
        return store

    yield open_store
    for store in stores:
        store.close()


def fill(store, count):
    return [store.ledger.append(example_entry("test.done", body={"n": number})) for number in range(count)]


def assert_whole(store, keys, state):
    """The invariants after any fault: an unbroken chain, a head file that has caught up, rows with entries."""
    entries = store.ledger.entries(limit=10**6)
    report = verify_integrity(entries, verify=keys.signer.verify)
    assert isinstance(report, ChainIntact), report
    assert report.head == store.ledger.head()
    if entries:
        assert parse_head((state / "head.json").read_bytes()) == report.head
    subjects = {entry.subject for entry in entries}
    assert all(row.id in subjects for row in store.proposals.find(limit=10**6))
    return entries


class TestKilled:
    def test_whatever_was_accepted_before_a_sigkill_is_there_afterwards(self, state, keys, opened):
        chance = random.Random(20260105)
        accepted = {}
        highest_seq = 0
        for attempt in range(6):
            lines = self._run_and_kill(state, first=1 + attempt * 100_000, after_lines=chance.randrange(0, 40))
            for seq, proposal, version in lines:
                highest_seq = max(highest_seq, seq)
                accepted[proposal] = max(version, accepted.get(proposal, 0))
            store = opened()
            entries = assert_whole(store, keys, state)
            assert len(entries) >= highest_seq
            for proposal, version in accepted.items():
                assert store.proposals.get(proposal).version >= version
            pending = dict(store.records.pending_records())
            assert all(pending[proposal] >= version for proposal, version in accepted.items())
            store.close()
        assert highest_seq > 20

    @staticmethod
    def _run_and_kill(state, *, first, after_lines):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(state), str(first)], stdout=subprocess.PIPE, text=True
        )
        lines = []
        try:
            for line in process.stdout:
                lines.append(line)
                if len(lines) > after_lines:
                    break
        finally:
            process.kill()
            rest = process.stdout.read()  # what it said between the last line read and its end
            process.stdout.close()
            process.wait(timeout=30)
        whole = [line.split() for line in [*lines, *rest.splitlines(keepends=True)] if line.endswith("\n")]
        assert whole, "the writer said nothing: it did not run"
        return [(int(seq), proposal, int(version)) for seq, proposal, version in whole]

    @pytest.mark.parametrize("marker", ["h.sqlite", "h.sqlite-wal", "h.sqlite-shm", "head.json"])
    def test_a_kill_while_the_database_is_first_made_leaves_one_that_opens(self, state, keys, opened, marker):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(state), "1"], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 30
            while not (state / marker).exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
        finally:
            process.kill()
            process.wait(timeout=30)
        store = opened()
        assert_whole(store, keys, state)
        fill(store, 1)
        assert_whole(store, keys, state)


class TestCrashBetweenCommitAndHeadFile:
    def test_the_head_file_is_caught_up_and_nothing_is_called_tampering(self, state, keys, opened, caplog):
        store = opened()
        fill(store, 3)
        before = (state / "head.json").read_bytes()
        store.ledger.append(example_entry("test.done"))
        store.close()
        (state / "head.json").write_bytes(before)  # as the crash would have left it
        with caplog.at_level(logging.WARNING):
            store = opened()
        assert "caught up" in caplog.text
        assert len(assert_whole(store, keys, state)) == 4

    def test_a_crash_after_the_very_first_entry_leaves_no_head_file_and_that_is_enough(self, state, keys, opened):
        store = opened()
        fill(store, 1)
        store.close()
        (state / "head.json").unlink()
        assert len(assert_whole(opened(), keys, state)) == 1


class TestHeadFileThatCannotBeWritten:
    def test_the_transition_stands_the_lag_is_counted_and_the_next_write_catches_up(self, state, keys, opened, caplog):
        store = opened()
        fill(store, 2)
        head_file, aside = state / "head.json", state / "aside.json"
        head_file.rename(aside)
        head_file.mkdir()
        proposal = example_proposal()
        with caplog.at_level(logging.WARNING):
            entry = store.proposals.insert(proposal, move_entry(proposal, "submitted", proposal.state))
        assert (entry.seq, store.ledger.lagging_writes) == (3, 1)
        assert "lags at entry 2" in caplog.text
        assert store.proposals.get(proposal.id) == proposal
        head_file.rmdir()
        aside.rename(head_file)
        assert parse_head(head_file.read_bytes()).size == 2
        fill(store, 1)
        assert store.ledger.lagging_writes == 1
        assert len(assert_whole(store, keys, state)) == 4


class TestRestoredDatabase:
    def _copy(self, state, name):
        (state.parent / name).mkdir()
        for path in state.glob("h.sqlite*"):
            shutil.copy2(path, state.parent / name)
        shutil.copy2(state / "head.json", state.parent / name)

    def _restore(self, state, name, *files):
        for path in state.glob("h.sqlite*"):
            path.unlink()
        for file in files:
            shutil.copy2(state.parent / name / file, state)

    def test_an_older_database_does_not_open_beside_the_newer_head_file(self, state, opened):
        store = opened()
        fill(store, 3)
        store.close()
        self._copy(state, "backup")
        store = opened()
        fill(store, 4)
        store.close()
        self._restore(state, "backup", "h.sqlite")
        with pytest.raises(IntegrityFailure) as failure:
            opened()
        assert failure.value.code == "ledger-truncated"
        assert "saw entry 7" in failure.value.message
        assert "the database ends at 3" in failure.value.message
        # With the check left out, everything that is there can still be looked at.
        store = opened(unsafe_skip_head_check=True)
        assert len(store.ledger.entries()) == 3

    def test_restored_with_its_own_head_file_only_the_trailers_in_git_tell(self, state, keys, opened):
        store = opened()
        fill(store, 3)
        store.close()
        self._copy(state, "backup")
        store = opened()
        trailer = head_of(fill(store, 4)[-1]).trailer()
        store.close()
        self._restore(state, "backup", "h.sqlite", "head.json")
        store = opened()
        report = compare_head(
            store.ledger.head(),
            parse_head((state / "head.json").read_bytes()),
            [("c" * 40, trailer)],
            hash_at=store.ledger.hash_at,
            verify=keys.signer.verify,
        )
        assert [item.fault.value for item in report.tampering] == ["trailer-ahead"]

    def test_a_lost_write_ahead_log_is_found_when_it_held_entries(self, state, opened):
        """As a careless copy of the database file alone would lose it."""
        store = opened()
        fill(store, 1)
        store._database.checkpoint()
        fill(store, 2)
        self._copy(state, "careless")
        store.close()
        self._restore(state, "careless", "h.sqlite", "head.json")
        with pytest.raises(IntegrityFailure) as failure:
            opened()
        assert failure.value.code == "ledger-truncated"


class TestDamage:
    @pytest.mark.parametrize("place", [0, 20_000])
    def test_a_damaged_file_is_an_integrity_failure(self, state, opened, place):
        store = opened()
        fill(store, 200)
        store.close()
        with (state / "h.sqlite").open("r+b") as file:
            file.seek(place)
            file.write(b"\xa5" * 60_000)
        with pytest.raises(IntegrityFailure) as failure:
            opened().ledger.entries()
        assert failure.value.code in {"store-corrupt", "ledger-entry-malformed", "ledger-altered"}

    def test_a_file_that_is_no_database_is_an_integrity_failure_and_is_left_alone(self, state, opened):
        (state / "h.sqlite").write_bytes(b"these are my notes, not a database\n" * 100)
        with pytest.raises(IntegrityFailure) as failure:
            opened()
        assert failure.value.code == "store-corrupt"
        assert (state / "h.sqlite").read_bytes().startswith(b"these are my notes")


class TestLocked:
    def test_a_lock_of_another_process_is_unavailable_for_writers_and_no_matter_for_readers(self, state, keys, opened):
        store = opened(busy_timeout_s=0.1)
        fill(store, 2)
        other = sqlite3.connect(state / "h.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable) as refused:
            store.ledger.append(example_entry("a.b"))
        assert refused.value.code == "store-locked"
        assert refused.value.hint
        assert len(store.ledger.entries()) == 2
        other.execute("ROLLBACK")
        other.close()
        fill(store, 1)
        assert len(assert_whole(store, keys, state)) == 3

    def test_a_writer_of_this_process_that_takes_too_long_is_unavailable_for_the_next(self, opened):
        store = opened(busy_timeout_s=0.1)
        inside, done = threading.Event(), threading.Event()

        def hold():
            with store._database.writing():
                inside.set()
                done.wait(timeout=30)

        holder = threading.Thread(target=hold)
        holder.start()
        assert inside.wait(timeout=30)
        with pytest.raises(Unavailable) as refused:
            store.ledger.append(example_entry("a.b"))
        done.set()
        holder.join(timeout=30)
        assert refused.value.code == "store-busy"
        assert store.ledger.append(example_entry("a.b")).seq == 1

    def test_opening_while_another_process_holds_the_lock_works_when_nothing_is_to_be_migrated(self, state, opened):
        opened().close()
        other = sqlite3.connect(state / "h.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert opened(busy_timeout_s=0.1).ledger.head().size == 0
        other.execute("ROLLBACK")
        other.close()


@contextmanager
def as_ordinary_user():
    """Root may write everywhere: give the effective uid away for the length of the block."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


class TestReadOnlyDisk:
    def test_a_database_that_may_not_be_written_is_unavailable_and_stays_as_it_is(self, keys):
        folder = Path(tempfile.mkdtemp())
        try:
            options = {"signer": keys.signer, "clock": SteppingClock(), "head_path": folder / "head.json"}
            store = SqlStore.open(folder / "h.sqlite", **options)
            fill(store, 1)
            store.close()
            before = (folder / "h.sqlite").read_bytes()
            for path in folder.iterdir():
                path.chmod(0o444)
            folder.chmod(0o555)
            with as_ordinary_user():
                with pytest.raises(Unavailable) as refused:
                    SqlStore.open(folder / "h.sqlite", **options).ledger.append(example_entry("a.b"))
                with pytest.raises(Unavailable) as refused_new:
                    SqlStore.open(folder / "new.sqlite", **options)
            assert refused.value.code == "store-not-writable"
            assert refused_new.value.code == "store-not-writable"
            assert (folder / "h.sqlite").read_bytes() == before
        finally:
            folder.chmod(stat.S_IRWXU)
            shutil.rmtree(folder)


@contextmanager
def full_disk(folder):
    """Let no file of this process grow any more; the error is the one of a full quota."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max(path.stat().st_size for path in folder.glob("h.sqlite-wal"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestFullDisk:
    def test_a_write_without_room_is_unavailable_and_leaves_nothing_and_goes_on_when_there_is_room(
        self, state, keys, opened
    ):
        store = opened()
        fill(store, 3)
        proposal = example_proposal(evidence=("e" * 20_000,) * 40)
        with full_disk(state):
            for _ in range(3):
                with pytest.raises(Unavailable) as refused:
                    store.proposals.insert(proposal, move_entry(proposal, "submitted", proposal.state))
        assert refused.value.code in {"store-io", "disk-full"}
        assert store.proposals.get(proposal.id) is None
        assert len(assert_whole(store, keys, state)) == 3
        store.proposals.insert(proposal, move_entry(proposal, "submitted", proposal.state))
        assert len(assert_whole(store, keys, state)) == 4
        store.close()
        assert len(assert_whole(opened(), keys, state)) == 4
