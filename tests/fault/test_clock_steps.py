"""The machine's clock is set while a change is watched: nothing is delayed, lost, or taken for well.

The flows run on the hub's own clock, and the evidence comes as agents send it: stamped by the
machine's clock, with lengths that no setting of the clock changes.
"""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from homeostat_agent.capture.traffic import LATENCY_BOUNDS_S, Series
from homeostat_agent.context import HostContext
from homeostat_agent.otlp import encode_metrics

from homeostat.adapters.clock import HubClock
from homeostat.flows.applying import request_apply
from homeostat.flows.ingesting import ingest_vitals
from homeostat.flows.observing import last_evidence, look, observe
from homeostat.flows.proposing import Submission, submit
from homeostat.model.proposal import ProposalState
from homeostat.rollout.observation import Continue, Hold
from homeostat.telemetry.own_word import OwnWord
from homeostat.testing.example_rows import MachineTime
from homeostat.testing.world import BOT, DIFF, OWNER, PROCESS, World

S = ProposalState
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CONTEXT = HostContext(repository="/srv/shop", commit=None, service_name="shop", process_id=PROCESS)


class Machine:
    """A hub and a program on one machine whose clock can be set."""

    def __init__(self):
        self.time = MachineTime()
        self.world = World(hub_clock=self._new_clock())
        self.words = OwnWord()

    def _new_clock(self):
        return HubClock(machine_time=self.time.wall, monotonic_s=self.time.monotonic_s)

    def restart(self):
        """Let another hub go on with what the last one left."""
        clock = self._new_clock()
        clock.not_before(last_evidence(self.world.deps))
        self.world.deps = replace(self.world.deps, clock=clock)

    def serve(self, seconds, *, errors=0):
        """Let the program serve 50 requests a second, of which so many fail, and tell of it each second."""
        for _ in range(seconds):
            since_s = self.time.monotonic_s()
            self.time.spend(1)
            end_ns = int(self.time.wall().timestamp() * 1000) * 1_000_000
            self._tell(end_ns, int((self.time.monotonic_s() - since_s) * 1e9), errors)
            self.time.spend(0.002)

    def _tell(self, end_ns, length_ns, errors):
        def series(count):
            return Series(0.1, (count, *[0] * len(LATENCY_BOUNDS_S)))

        requests = {("/price", ""): series(50 - errors)}
        if errors:
            requests["/price", "KeyError"] = series(errors)
        snapshot = {
            "start_unix_ns": end_ns - length_ns,
            "end_unix_ns": end_ns,
            "requests": requests,
            "errors_logged": errors,
            "loop_lag_ms_max": None,
            "cpu_utilization": None,
            "memory_bytes": None,
            "dropped": 0,
            "generation": 0,
        }
        body = json.loads(json.dumps(encode_metrics(snapshot, CONTEXT)))
        done = ingest_vitals(self.world.deps, body, process_id=PROCESS, words=self.words)
        assert (done.accepted, done.rejected) == (1, 0)

    def apply(self):
        deps = self.world.deps
        proposal = submit(deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
        self.world.run()
        request_apply(deps, proposal.id, actor=OWNER, seen=None)
        self.world.run()
        self.time.spend(0.002)
        return self.row()

    def row(self):
        return self.world.deps.proposals.find()[0]

    def look(self):
        """Do what the hub does at each beat, and return the state that follows."""
        observe(self.world.deps, self.row().id)
        self.world.run()
        return self.row().state

    def judgement(self):
        return look(self.world.deps, self.row()).judgement


def watched(errors=0):
    machine = Machine()
    machine.serve(40, errors=errors)
    assert machine.apply().state is S.OBSERVING
    return machine


STEPS_BACK = [timedelta(seconds=-5), -HOUR, -DAY]


@pytest.mark.parametrize("by", STEPS_BACK, ids=str)
def test_a_step_back_delays_no_judgement(by):
    machine = watched()
    machine.serve(20)
    machine.time.set_by(by)
    machine.serve(38)
    assert machine.look() is S.OBSERVING
    machine.serve(4)
    assert machine.look() is S.IMPLEMENTED


@pytest.mark.parametrize("by", STEPS_BACK, ids=str)
def test_harm_after_a_step_back_is_seen_at_once(by):
    machine = watched()
    machine.time.set_by(by)
    machine.serve(5, errors=20)
    assert machine.look() is S.REVERTED


@pytest.mark.parametrize("by", STEPS_BACK, ids=str)
def test_harm_that_was_seen_before_a_step_back_is_not_forgotten(by):
    machine = watched()
    machine.serve(5, errors=20)
    machine.time.set_by(by)
    assert machine.look() is S.REVERTED


@pytest.mark.parametrize("by", STEPS_BACK, ids=str)
def test_what_comes_after_a_step_back_is_never_counted_to_the_time_before_the_change(by):
    machine = watched(errors=1)
    before = look(machine.world.deps, machine.row()).baseline
    machine.time.set_by(by)
    machine.serve(10)
    after = look(machine.world.deps, machine.row())
    assert after.baseline == before
    assert after.after.requests >= 450  # one tick may lie across the moment of the step
    assert after.after.errors == 0


@pytest.mark.parametrize("by", [timedelta(seconds=70), HOUR, DAY], ids=str)
def test_a_step_forward_is_no_window_that_passed_well(by):
    machine = watched()
    machine.serve(5)
    machine.time.set_by(by)
    assert machine.look() is S.OBSERVING
    said = machine.judgement()
    assert isinstance(said, Hold) and "only 5 of 60 s were watched" in said.reason
    machine.serve(40)
    assert machine.look() is S.OBSERVING
    machine.serve(15)
    assert machine.look() is S.IMPLEMENTED


def test_a_clock_that_goes_back_and_forth_all_the_time_changes_nothing():
    machine = watched()
    for number in range(55):
        machine.time.set_by(HOUR if number % 2 else -HOUR)
        machine.serve(1)
        assert machine.look() is S.OBSERVING
    machine.serve(8)
    assert machine.look() is S.IMPLEMENTED


@pytest.mark.parametrize("by", STEPS_BACK, ids=str)
def test_a_hub_that_was_away_while_the_clock_was_set_back_goes_on_where_it_was(by):
    machine = watched()
    machine.serve(30)
    machine.time.set_by(by)
    machine.restart()
    assert isinstance(machine.judgement(), Continue)
    machine.serve(25)
    assert machine.look() is S.OBSERVING
    machine.serve(8)
    assert machine.look() is S.IMPLEMENTED
