from dataclasses import replace

import pytest

from homeostat.model.restart import RestartPhase, RestartPlan
from homeostat.rollout.restart import (
    EMPTIED_AFTER_S,
    EMPTY_NEW_S,
    END_NEW_S,
    UNDER_WAY_S,
    Action,
    Leaving,
    NewSeen,
    begin,
    decide,
    fail,
    is_empty,
)

P, A = RestartPhase, Action
PLAN = RestartPlan(timeout_s=20, drain_s=10, settle_s=2)
ALIVE, GONE = Leaving(alive=True), Leaving(alive=False)
WELL = NewSeen(alive=True, attached=True)


class Play:
    """A restart that is played through on a clock of its own."""

    def __init__(self, *, overlap=True, plan=PLAN):
        self.now_s = 100.0
        self.restart, self.action = begin("r", plan, overlap=overlap, now_s=self.now_s)

    def after(self, seconds, *, new=None, old=ALIVE):
        self.now_s += seconds
        self.restart, self.action = decide(self.restart, new=new, old=old, now_s=self.now_s)
        return self.restart.phase, self.action


def test_with_overlap_the_old_process_is_touched_only_after_the_new_one_was_well_for_the_settle_time():
    play = Play()
    assert play.action is A.START_NEW
    assert play.after(1, new=WELL) == (P.STARTING, A.WAIT)
    assert play.after(1.9, new=WELL) == (P.STARTING, A.WAIT)
    assert play.after(0.2, new=WELL) == (P.RETIRING, A.PARK_OLD)
    assert play.after(0.05, new=WELL) == (P.RETIRING, A.WAIT)
    assert play.after(0.1, new=WELL) == (P.DRAINING, A.TERMINATE_OLD)
    assert play.after(1, new=WELL) == (P.DRAINING, A.WAIT)
    assert play.after(1, new=WELL, old=GONE) == (P.DONE, A.WAIT)
    assert play.restart.reason == ""


@pytest.mark.parametrize(
    ("unwell", "word"),
    [
        (NewSeen(alive=True), "agent"),
        (replace(WELL, unserved=("127.0.0.1:80",)), "127.0.0.1:80"),
        (replace(WELL, probe="/health was answered with 500"), "500"),
    ],
)
def test_a_new_process_that_is_not_well_in_time_is_ended_and_the_old_one_left_alone(unwell, word):
    play = Play()
    for _ in range(20):
        assert play.after(1, new=unwell) == (P.STARTING, A.WAIT)
    assert play.after(1, new=unwell) == (P.ENDING, A.PARK_NEW)
    assert word in play.restart.reason
    assert play.after(0.1, new=NewSeen(alive=False)) == (P.FAILED, A.KILL_NEW)
    assert word in play.restart.reason


def test_a_probe_that_was_not_answered_by_the_new_process_is_no_evidence_either_way():
    play = Play()
    assert play.after(1, new=replace(WELL, probe=None)) == (P.STARTING, A.WAIT)
    assert play.after(5, new=replace(WELL, probe=None)) == (P.STARTING, A.WAIT)
    assert play.after(1, new=WELL) == (P.RETIRING, A.PARK_OLD)


def test_what_the_new_process_last_answered_is_the_reason_also_when_the_old_one_had_the_last_probe():
    play = Play()
    play.after(5, new=replace(WELL, probe="/health was answered with 500"))
    assert play.after(17, new=replace(WELL, probe=None)) == (P.ENDING, A.PARK_NEW)
    assert "/health was answered with 500" in play.restart.reason


def test_a_new_process_that_no_probe_reached_is_not_called_well_and_that_is_said():
    play = Play(plan=replace(PLAN, health_path="/health"))
    play.after(1, new=replace(WELL, probe=None))
    assert play.after(25, new=replace(WELL, probe=None)) == (P.ENDING, A.PARK_NEW)
    assert "the old process took every connection" in play.restart.reason


def test_the_settle_time_begins_anew_when_something_was_missing_in_between():
    play = Play()
    play.after(1, new=WELL)
    play.after(1.5, new=replace(WELL, unserved=("x",)))
    assert play.after(1, new=WELL) == (P.STARTING, A.WAIT)
    assert play.after(1.9, new=WELL) == (P.STARTING, A.WAIT)
    assert play.after(0.2, new=WELL) == (P.RETIRING, A.PARK_OLD)


def test_workers_that_end_and_come_again_are_never_well():
    play = Play()
    for _ in range(20):
        assert play.after(1, new=replace(WELL, disturbed_at_s=play.now_s)) == (P.STARTING, A.WAIT)
    assert play.after(1, new=replace(WELL, disturbed_at_s=play.now_s))[0] is P.ENDING


def test_a_new_process_that_ends_by_itself_fails_at_once_with_its_code():
    play = Play()
    assert play.after(0.1, new=NewSeen(alive=False, code=3)) == (P.FAILED, A.KILL_NEW)
    assert play.restart.reason == "the new process ended with code 3"


def test_a_new_process_that_will_not_end_is_killed_once():
    play = Play()
    play.restart, _ = fail(play.restart, "because", now_s=play.now_s)
    assert play.after(0.2, new=WELL) == (P.ENDING, A.TERMINATE_NEW)
    assert play.after(END_NEW_S - 0.1, new=WELL) == (P.ENDING, A.WAIT)
    assert play.after(0.2, new=WELL) == (P.ENDING, A.KILL_NEW)
    assert play.after(0.2, new=WELL) == (P.ENDING, A.WAIT)
    assert play.after(0.2, new=NewSeen(alive=False))[0] is P.FAILED
    assert play.restart.reason == "because"


def test_a_new_process_that_failed_answers_what_it_has_accepted_before_it_is_ended():
    play = Play()
    play.restart, action = fail(play.restart, "because", now_s=play.now_s)
    assert action is A.PARK_NEW
    at_work = replace(WELL, unanswered=Leaving(alive=True, busy_connections=1, unread=1))
    assert play.after(EMPTY_NEW_S - 0.1, new=at_work) == (P.ENDING, A.WAIT)
    assert play.after(0.05, new=WELL) == (P.ENDING, A.TERMINATE_NEW)
    assert play.after(0.05, new=WELL) == (P.ENDING, A.WAIT)


def test_a_new_process_that_failed_and_answers_nothing_is_not_waited_for():
    play = Play()
    play.restart, _ = fail(play.restart, "because", now_s=play.now_s)
    stuck = replace(WELL, unanswered=Leaving(alive=True, busy_connections=1, unread=1))
    assert play.after(EMPTY_NEW_S + 0.1, new=stuck) == (P.ENDING, A.TERMINATE_NEW)


def test_a_worker_is_stopped_before_the_new_one_starts():
    play = Play(overlap=False)
    assert play.action is A.TERMINATE_OLD
    assert play.after(1) == (P.STOPPING, A.WAIT)
    assert play.after(1, old=GONE) == (P.STARTING, A.START_NEW)
    assert play.after(0.1, new=WELL, old=GONE) == (P.STARTING, A.WAIT)
    assert play.after(2, new=WELL, old=GONE) == (P.DONE, A.WAIT)


@pytest.mark.parametrize("overlap", [True, False])
def test_an_old_process_that_does_not_end_is_killed_once_and_it_is_said(overlap):
    play = Play(overlap=overlap)
    if overlap:
        play.after(1, new=WELL)
        play.after(2, new=WELL)
        play.after(1, new=WELL)
    assert play.after(9, new=WELL)[1] is A.WAIT
    assert play.after(2, new=WELL)[1] is A.KILL_OLD
    assert play.after(1, new=WELL)[1] is A.WAIT
    phase, _ = play.after(1, new=WELL, old=GONE)
    if overlap:
        assert phase is P.DONE and "was killed" in play.restart.reason
    else:
        assert phase is P.STARTING


def test_a_busy_old_process_is_asked_to_end_when_its_time_to_drain_is_over():
    play = Play()
    play.after(1, new=WELL)
    play.after(2, new=WELL)
    busy = Leaving(alive=True, busy_connections=1, graceful=False)
    assert play.after(9.9, new=WELL, old=busy) == (P.RETIRING, A.WAIT)
    assert play.after(0.2, new=WELL, old=busy) == (P.DRAINING, A.TERMINATE_OLD)


def test_an_old_process_that_ends_by_itself_is_no_failure():
    play = Play()
    play.after(1, new=WELL, old=GONE)
    assert play.after(2, new=WELL, old=GONE) == (P.RETIRING, A.PARK_OLD)
    assert play.after(0.1, new=WELL, old=GONE) == (P.DONE, A.WAIT)


@pytest.mark.parametrize("phase", [P.DONE, P.FAILED])
def test_nothing_is_done_after_the_end(phase):
    play = Play()
    play.restart = replace(play.restart, phase=phase)
    assert play.after(1000, new=WELL) == (phase, A.WAIT)


@pytest.mark.parametrize(
    ("old", "parked_s", "expected"),
    [
        (Leaving(alive=True), EMPTIED_AFTER_S / 2, False),
        (Leaving(alive=True), EMPTIED_AFTER_S, True),
        (Leaving(alive=True, busy_connections=1), UNDER_WAY_S / 2, False),
        (Leaving(alive=True, busy_connections=1), UNDER_WAY_S, True),
        (Leaving(alive=True, busy_connections=1, unread=1), UNDER_WAY_S * 5, False),
        (Leaving(alive=True, busy_connections=1, graceful=False), UNDER_WAY_S * 5, False),
        (Leaving(alive=True, busy_connections=0, graceful=False), UNDER_WAY_S, True),
    ],
)
def test_nobody_who_has_begun_a_request_is_cut_off(old, parked_s, expected):
    assert is_empty(old, parked_s=parked_s) is expected
