"""Starts of workflows survive; handlers run at each event, one at a time for a proposal and for proofs."""

import subprocess
import sys
import textwrap
import threading
import time
import uuid

import pytest
import sqlalchemy as sa

from homeostat.adapters.durable import DurableStarter, open_engine
from homeostat.core.errors import Conflict, Unavailable
from homeostat.core.ids import ProposalId

ONE = ProposalId("11111111-1111-4111-8111-111111111111")
TWO = ProposalId("22222222-2222-4222-8222-222222222222")


class Recorder:
    def __init__(self):
        self.ran = []
        self.outcomes = []
        self.inside = 0
        self.most_inside = 0
        self.gate = threading.Event()
        self.gate.set()
        self.failures = {}
        self._lock = threading.Lock()

    def handler(self, name):
        def run(proposal_id):
            with self._lock:
                self.ran.append((name, proposal_id))
                self.inside += 1
                self.most_inside = max(self.most_inside, self.inside)
            self.gate.wait(10)
            with self._lock:
                self.inside -= 1
            if name in self.failures:
                raise self.failures[name]

        return run

    def wait(self, count):
        deadline = time.monotonic() + 20
        while len(self.outcomes) < count:
            assert time.monotonic() < deadline, (self.ran, self.outcomes)
            threading.Event().wait(0.01)


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def starter(tmp_path, recorder):
    made = DurableStarter(
        database=tmp_path / "flows.sqlite",
        handlers={name: recorder.handler(name) for name in ("submitted", "apply_asked", "revert_asked")},
        on_outcome=lambda *outcome: recorder.outcomes.append(outcome),
        new_id=lambda: str(uuid.uuid4()),
    )
    made.launch()
    yield made
    made.close()


@pytest.mark.parametrize("retry", [False, True])
def test_an_event_that_comes_again_in_a_proposals_life_runs_its_handler_again(starter, recorder, retry):
    """Applying goes on when a canary has passed, and what was taken back may be taken back once more."""
    starter.apply_asked(ONE)
    recorder.wait(1)
    starter.apply_asked(ONE, retry=retry)
    recorder.wait(2)
    starter.revert_asked(ONE)
    recorder.wait(3)
    assert recorder.ran == [("apply_asked", ONE), ("apply_asked", ONE), ("revert_asked", ONE)]


def test_a_retry_while_the_first_is_still_at_work_does_nothing(starter, recorder):
    recorder.gate.clear()
    starter.apply_asked(ONE)
    deadline = time.monotonic() + 10
    while not recorder.ran:
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    starter.apply_asked(ONE, retry=True)
    recorder.gate.set()
    recorder.wait(1)
    starter.apply_asked(TWO)
    recorder.wait(2)
    assert recorder.ran == [("apply_asked", ONE), ("apply_asked", TWO)]


def test_proofs_run_one_at_a_time_and_never_keep_an_application_waiting(starter, recorder):
    recorder.gate.clear()
    starter.submitted(ONE)
    starter.submitted(TWO)
    deadline = time.monotonic() + 10
    while not recorder.ran:
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    assert [name for name, _ in recorder.ran] == ["submitted"]
    recorder.gate.set()
    recorder.wait(2)
    assert recorder.most_inside == 1


def test_a_handler_that_fails_is_told_and_one_whose_row_was_changed_gives_way_quietly(starter, recorder):
    recorder.failures = {"apply_asked": Unavailable("disk-full", "no room"), "revert_asked": Conflict("stale-row", "")}
    starter.revert_asked(TWO)
    starter.apply_asked(ONE)
    recorder.wait(1)
    ((name, proposal_id, error),) = recorder.outcomes
    assert (name, proposal_id, error.code) == ("apply_asked", ONE, "disk-full")


def test_a_conflict_about_anything_but_the_row_is_told(starter, recorder):
    """It would come back at every recovery, and nobody would know why nothing happens."""
    recorder.failures = {"apply_asked": Conflict("operation-in-progress", "a rebase is under way")}
    starter.apply_asked(ONE)
    recorder.wait(1)
    ((name, proposal_id, error),) = recorder.outcomes
    assert (name, proposal_id, error.code) == ("apply_asked", ONE, "operation-in-progress")


def test_what_was_interrupted_by_a_kill_runs_again_at_the_next_start(tmp_path):
    script = textwrap.dedent(
        """
        import os, sys, uuid, signal, threading
        from pathlib import Path
        from homeostat.adapters.durable import DurableStarter, open_engine
        folder, die = Path(sys.argv[1]), sys.argv[2] == "die"
        done = threading.Event()

        def handler(proposal_id):
            with open(folder / "ran", "a") as log:
                log.write(proposal_id + "\\n")
            if die:
                os.kill(os.getpid(), signal.SIGKILL)
            done.set()

        starter = DurableStarter(
            database=folder / "flows.sqlite", handlers={"apply_asked": handler},
            on_outcome=lambda *outcome: None, new_id=lambda: str(uuid.uuid4()),
        )
        starter.launch()
        if die:
            starter.apply_asked("11111111-1111-4111-8111-111111111111")
        assert done.wait(20)
        starter.close()
        """
    )
    first = subprocess.run([sys.executable, "-c", script, str(tmp_path), "die"], check=False)
    assert first.returncode == -9
    subprocess.run([sys.executable, "-c", script, str(tmp_path), "live"], check=True)
    assert (tmp_path / "ran").read_text().split() == [ONE, ONE]


def test_the_queue_that_only_recovery_uses_is_hardly_asked_once_recovery_has_had_its_time(tmp_path):
    starter = DurableStarter(
        database=tmp_path / "flows.sqlite",
        handlers={},
        on_outcome=lambda *_: None,
        new_id=lambda: "id",
        recovery_s=0.01,
    )
    starter.launch()
    try:
        queue = starter._dbos._registry.get_internal_queue()
        deadline_s = time.monotonic() + 20
        while queue.polling_interval_sec < 30:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        (worker,) = (thread for thread in threading.enumerate() if queue.name in thread.name)
        assert worker.is_alive()
    finally:
        starter.close()


def test_only_one_change_of_the_deployed_tree_is_under_way_whichever_proposals_ask(starter, recorder):
    recorder.gate.clear()
    starter.apply_asked(ONE)
    starter.revert_asked(TWO)
    deadline = time.monotonic() + 1  # enough for the second to begin, if nothing held it back
    while time.monotonic() < deadline and len(recorder.ran) < 2:
        threading.Event().wait(0.01)
    assert len(recorder.ran) == 1
    recorder.gate.set()
    recorder.wait(2)
    assert recorder.most_inside == 1


def test_the_time_that_dbos_asks_sqlite_for_is_known_to_an_old_sqlite_too(tmp_path):
    engine = open_engine(tmp_path / "flows.sqlite")
    try:
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE t (x, at INTEGER NOT NULL DEFAULT (unixepoch('subsec') * 1000))"))
            connection.execute(sa.text("INSERT INTO t (x) VALUES (1)"))
            (at_ms,) = connection.execute(sa.text("SELECT at FROM t")).one()
            cast = sa.cast(sa.func.unixepoch("subsec") * 1000, sa.BigInteger)
            (now_ms,) = connection.execute(sa.select(cast)).one()
    finally:
        engine.dispose()
    assert abs(at_ms - time.time() * 1000) < 60_000 and abs(now_ms - at_ms) < 60_000


def test_a_start_that_finds_the_disk_full_says_so_and_works_once_there_is_room(starter, recorder):
    def limit(pages):
        # The limit belongs to a connection: every one that is in the pool, and those to come, shall have it.
        @sa.event.listens_for(starter._engine, "checkout")
        def narrow(connection, _record, _proxy):
            connection.execute(f"PRAGMA max_page_count={pages}")

        return narrow

    narrow = limit(1)  # SQLite takes the present size where that is larger: nothing more fits
    filler = "x" * 3000
    with pytest.raises(Unavailable) as caught:
        for number in range(200):
            starter.submitted(ProposalId(f"{filler}{number}"))
            recorder.wait(number + 1)
    assert caught.value.code == "disk-full"
    sa.event.remove(starter._engine, "checkout", narrow)
    limit(1_000_000)
    seen = len(recorder.outcomes)
    starter.apply_asked(ONE)
    recorder.wait(seen + 1)
    assert ("apply_asked", ONE) in recorder.ran
