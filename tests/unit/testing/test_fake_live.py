"""The fake's misbehaviour, beyond what the contract suite asks of every implementation."""

from datetime import UTC, datetime

import pytest

from homeostat.core.ids import ProcessId
from homeostat.model.process import HostProcess, LiveOutcome
from homeostat.ports.live import LiveChange, ModuleChange
from homeostat.testing.fake_live import FakeLive, Misbehaviour

OLD, NEW = "def f():\n    return 1\n", "def f():\n    return 2\n"
PROCESS = ProcessId("0b9c7b4e-6f2a-4c0f-8e1d-2a4f3c5d6e7f")
CHANGE = LiveChange(id="c1", mode="safe", modules=(ModuleChange(path="a.py", old_source=OLD, new_source=NEW),))


@pytest.fixture
def live():
    fake = FakeLive()
    fake.attach(
        HostProcess(
            id=PROCESS,
            pid=1,
            started_at=datetime(2026, 1, 1, tzinfo=UTC),
            python="3.12.0",
            command="app.py",
            commit=None,
            hmr_enabled=True,
            generation=0,
            changes=(),
            connected=True,
        ),
        loaded={"a.py": OLD},
    )
    return fake


@pytest.mark.parametrize(
    ("how", "outcome", "runs", "connected"),
    [
        (Misbehaviour.REFUSE, LiveOutcome.RESTART_REQUIRED, OLD, True),
        (Misbehaviour.FAIL, LiveOutcome.FAILED, OLD, True),
        (Misbehaviour.UNREACHABLE, LiveOutcome.UNREACHABLE, OLD, True),
        (Misbehaviour.LOSE_ANSWER, LiveOutcome.UNREACHABLE, NEW, True),
        (Misbehaviour.LATE, LiveOutcome.UNREACHABLE, OLD, True),
        (Misbehaviour.DIE, LiveOutcome.UNREACHABLE, OLD, False),
    ],
)
def test_each_misbehaviour_hits_the_next_command_of_its_kind_only(live, how, outcome, runs, connected):
    live.misbehave(PROCESS, "swap", how)
    assert live.prepare(PROCESS, CHANGE, timeout_s=1).outcome is LiveOutcome.SWAPPED
    assert live.swap(PROCESS, CHANGE, timeout_s=1).outcome is outcome
    assert live.source(PROCESS, "a.py") == runs
    assert live.processes()[0].connected is connected
    if connected:
        assert live.swap(PROCESS, CHANGE, timeout_s=1).outcome is LiveOutcome.SWAPPED
        assert live.processes()[0].generation == 1


def test_a_process_that_comes_back_shows_what_is_in_force_in_it(live):
    live.swap(PROCESS, CHANGE, timeout_s=1)
    live.lose(PROCESS)
    assert not live.wait_until_connected([PROCESS], timeout_s=0)
    live.reconnect(PROCESS)
    assert live.wait_until_connected([PROCESS], timeout_s=0)
    assert live.processes()[0].changes == ("c1",)


def test_a_process_that_ends_at_a_command_is_known_to_have_ended(live):
    live.misbehave(PROCESS, "swap", Misbehaviour.END)
    assert live.swap(PROCESS, CHANGE, timeout_s=1).outcome is LiveOutcome.UNREACHABLE
    assert live.processes() == []
    assert live.wait_until_connected([PROCESS], timeout_s=0)


def test_a_process_that_ended_is_not_waited_for(live):
    live.end(PROCESS)
    assert live.processes() == []
    assert live.wait_until_connected([PROCESS], timeout_s=0)


def test_every_command_is_on_record(live):
    live.prepare(PROCESS, CHANGE, timeout_s=1)
    live.rollback(PROCESS, "c1", timeout_s=1)
    assert live.calls == [("prepare", PROCESS, "c1"), ("rollback", PROCESS, "c1")]


def test_a_late_swap_has_happened_when_the_next_command_is_answered(live):
    live.misbehave(PROCESS, "swap", Misbehaviour.LATE)
    live.swap(PROCESS, CHANGE, timeout_s=1)
    assert live.rollback(PROCESS, "c1", timeout_s=1).outcome is LiveOutcome.SWAPPED
    assert (live.source(PROCESS, "a.py"), live.processes()[0].generation) == (OLD, 2)


def test_a_process_whose_lease_ran_out_is_not_known_to_be_gone_and_comes_back_with_what_it_runs(live):
    live.swap(PROCESS, CHANGE, timeout_s=1)
    live.lose(PROCESS)
    live.expire(PROCESS)
    assert live.processes() == []
    assert not live.wait_until_connected([PROCESS], timeout_s=0)
    live.reconnect(PROCESS)
    assert live.wait_until_connected([PROCESS], timeout_s=0)
    assert (live.processes()[0].connected, live.processes()[0].changes) == (True, ("c1",))


def test_a_hub_that_restarted_knows_nobody_until_they_dial_in(live):
    live.swap(PROCESS, CHANGE, timeout_s=1)
    live.restart_hub()
    assert live.processes() == []
    assert not live.wait_until_connected([PROCESS], timeout_s=0)
    assert not live.wait_until_gathered(timeout_s=0)
    assert live.rollback(PROCESS, "c1", timeout_s=1).outcome is LiveOutcome.UNREACHABLE
    live.reconnect(PROCESS)
    assert live.processes()[0].changes == ("c1",)
