"""Commands to agents: what they name, how long they are waited for, and what an answer may say."""

import time

import pytest
from agent_by_hand import CHANGE, PROCESS, agent, answer, in_background, soon
from agents_harness import Place, connected, wait_for

from homeostat.model.process import LiveOutcome
from homeostat.ports.live import LiveChange, ModuleChange


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_a_command_names_process_generation_digest_and_expiry(place):
    with place.hub() as gateway, agent(place, generation=5) as there:
        connected(gateway)
        before_ms = time.monotonic() * 1000
        result = in_background(gateway.swap, PROCESS, CHANGE, timeout_s=8)
        payload = answer(
            there, outcome="swapped", detail="", swap_us=9, functions=["a:f"], generation=6, changes=["c1"]
        )
        assert (payload["process_id"], payload["generation"], payload["type"]) == (PROCESS, 5, "swap")
        assert payload["digest"].startswith("sha256:")
        # By the hub's monotonic clock, in whole milliseconds.
        assert before_ms - 2 < payload["expires_at"] - 8000 <= time.monotonic() * 1000
        assert result().outcome is LiveOutcome.SWAPPED
        assert (result().swap_us, result().functions) == (9, ("a:f",))
        assert (gateway.processes()[0].generation, gateway.processes()[0].changes) == (6, ("c1",))


def test_a_process_that_does_not_answer_in_time_is_unreachable_and_its_late_answer_is_still_noted(place):
    with place.hub() as gateway, agent(place) as there:
        connected(gateway)
        result = gateway.swap(PROCESS, CHANGE, timeout_s=0.1)
        assert (result.outcome, result.detail) == (LiveOutcome.UNREACHABLE, "no answer in time")
        answer(there, outcome="swapped", generation=1, changes=["c1"])
        wait_for(lambda: gateway.processes()[0].changes == ("c1",))


def test_a_rollback_after_a_swap_whose_answer_was_late_is_asked_again_at_the_new_generation(place):
    with place.hub() as gateway, agent(place) as there:
        connected(gateway)
        result = in_background(gateway.rollback, PROCESS, "c1", timeout_s=8)
        answer(there, outcome="refused", code="wrong-generation", detail="", generation=1, changes=["c1"])
        assert answer(there, outcome="swapped", generation=2)["generation"] == 1
        assert result().outcome is LiveOutcome.SWAPPED


def test_a_connection_lost_in_the_middle_of_a_command_is_unreachable_at_once(place):
    with place.hub() as gateway:
        with agent(place) as there:
            connected(gateway)
            started_s = time.monotonic()
            result = in_background(gateway.swap, PROCESS, CHANGE, timeout_s=30)
            there.receive(deadline_s=soon())
        assert (result().outcome, result().detail) == (LiveOutcome.UNREACHABLE, "the connection was lost")
        assert time.monotonic() - started_s < 15  # some milliseconds, or else the 30 s


def test_an_agent_that_never_reads_makes_a_command_unreachable_and_loses_its_connection(place):
    big = LiveChange(
        id="c1", mode="safe", modules=(ModuleChange(path="a.py", old_source="x" * 1_000_000, new_source=""),)
    )
    with place.hub() as gateway, agent(place):
        connected(gateway)
        result = gateway.swap(PROCESS, big, timeout_s=0.3)
        assert result.outcome is LiveOutcome.UNREACHABLE
        assert "could not be sent (timeout)" in result.detail
        wait_for(lambda: not gateway.processes()[0].connected)


def test_a_change_too_large_for_a_frame_needs_a_restart_and_keeps_the_connection(place):
    module = ModuleChange(path="a.py", old_source="x" * 3_000_000, new_source="y" * 3_000_000)
    with place.hub() as gateway, agent(place):
        connected(gateway)
        result = gateway.swap(PROCESS, LiveChange(id="c1", mode="safe", modules=(module,)), timeout_s=5)
        assert (result.outcome, "too-large" in result.detail) == (LiveOutcome.RESTART_REQUIRED, True)
        assert gateway.processes()[0].connected


@pytest.mark.parametrize(
    "outcome", ["unreachable", "done", None, 7, True, {"healthy": False}, {"swapped": True}, ["swapped"]]
)
def test_an_answer_outside_the_vocabulary_is_a_failure(place, outcome):
    with place.hub() as gateway, agent(place) as there:
        connected(gateway)
        result = in_background(gateway.prepare, PROCESS, CHANGE, timeout_s=8)
        answer(there, outcome=outcome, detail="")
        assert result().outcome is LiveOutcome.FAILED


def test_a_refused_command_is_a_failure_that_says_why(place):
    with place.hub() as gateway, agent(place) as there:
        connected(gateway)
        result = in_background(gateway.prepare, PROCESS, CHANGE, timeout_s=8)
        answer(there, outcome="refused", code="wrong-digest", detail="d")
        assert (result().outcome, result().detail) == (
            LiveOutcome.FAILED,
            "the agent refused the command (wrong-digest): d",
        )


def test_commands_to_one_process_go_one_by_one_and_the_waiting_one_keeps_its_time(place):
    with place.hub() as gateway, agent(place) as there:
        connected(gateway)
        first = in_background(gateway.swap, PROCESS, CHANGE, timeout_s=30)
        there.receive(deadline_s=soon())
        started_s = time.monotonic()
        second = gateway.prepare(PROCESS, CHANGE, timeout_s=0.2)
        assert second.outcome is LiveOutcome.UNREACHABLE
        assert "still under way" in second.detail
        assert time.monotonic() - started_s < 15  # 0.2 s, or else the 30 s of the first one
        assert there.receive(deadline_s=lambda: 0.0) is None
        there.close()
        assert first().outcome is LiveOutcome.UNREACHABLE


def test_what_an_answer_says_beside_its_outcome_is_bounded_and_can_be_stored_and_shown(place):
    with place.hub() as gateway, agent(place) as there:
        connected(gateway)
        result = in_background(gateway.swap, PROCESS, CHANGE, timeout_s=8)
        answer(
            there,
            outcome="swapped",
            detail="half \ud800 a\ncharacter" + "x" * 9_000,
            swap_us=-1,
            functions=["a:f\udfff", "n" * 9_000, {"deep": [[[]]]}] + ["g"] * 9_000,
            runs=["new"],
        )
        assert result().outcome is LiveOutcome.SWAPPED
        assert result().detail.startswith("half ? a character") and len(result().detail) == 500
        assert result().functions[:3] == ("a:f?", "n" * 500, "") and len(result().functions) == 1_000
        assert result().swap_us is None and result().runs is None


@pytest.mark.parametrize("swap_us", [2**60, 10**400, 1.5, True, "9", None])
def test_a_time_that_no_swap_takes_is_none(place, swap_us):
    with place.hub() as gateway, agent(place) as there:
        connected(gateway)
        result = in_background(gateway.swap, PROCESS, CHANGE, timeout_s=8)
        answer(there, outcome="swapped", swap_us=swap_us)
        assert (result().outcome, result().swap_us) == (LiveOutcome.SWAPPED, None)


@pytest.mark.parametrize("name", ["", "another", None, ["list"], {"a": 1}])
def test_an_answer_to_what_was_not_asked_ends_the_connection_and_changes_nothing(place, name):
    with place.hub() as gateway, agent(place) as there:
        connected(gateway)
        result = in_background(gateway.swap, PROCESS, CHANGE, timeout_s=8)
        there.receive(deadline_s=soon())
        unasked = {"command_id": name, "outcome": "swapped", "generation": 9, "changes": ["c1"]}
        there.send("answer", unasked, deadline_s=soon())
        assert result().outcome is LiveOutcome.UNREACHABLE
        wait_for(lambda: gateway.stats().ended.get("unasked") == 1)
        assert [item.changes for item in gateway.processes()] == [()]


def test_a_second_answer_to_one_command_ends_the_connection(place):
    with place.hub() as gateway, agent(place) as there:
        connected(gateway)
        result = in_background(gateway.swap, PROCESS, CHANGE, timeout_s=8)
        payload = answer(there, outcome="failed")
        assert result().outcome is LiveOutcome.FAILED
        again = {"command_id": payload["command_id"], "outcome": "swapped", "generation": 1, "changes": ["c1"]}
        there.send("answer", again, deadline_s=soon())
        wait_for(lambda: gateway.stats().ended.get("unasked") == 1)
        assert [item.changes for item in gateway.processes()] == [()]
