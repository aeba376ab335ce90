"""Programs hang and die while a share of their calls runs a change: real processes with the real agent and gateway.

Store and repository are the fakes; what is asked is what the programs answer, and when the hub says what of it.
"""

import os
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest
from agents_harness import PROGRAM, Place, SystemClock, asked, clean_environment, host, wait_for

from homeostat.flows.applying import request_apply
from homeostat.flows.observing import observe
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.reverting import request_automatic_revert
from homeostat.model.process import LiveOutcome
from homeostat.model.proposal import ProposalState
from homeostat.model.settings import CanarySettings, HmrSettings
from homeostat.testing.world import BOT, DIFF, OWNER, SOURCE, WORLD_SETTINGS, World

S = ProposalState
LEASE_S = 4.0
OLD, NEW = "KeyError", "0"


class Noting:
    """The gateway, with a note of every answer."""

    def __init__(self, gateway):
        self._gateway = gateway
        self.answers = []

    def __getattr__(self, name):
        return getattr(self._gateway, name)

    def rollback(self, process_id, change_id, *, timeout_s):
        answer = self._gateway.rollback(process_id, change_id, timeout_s=timeout_s)
        self.answers.append((process_id, answer.outcome))
        return answer


class Tried:
    """Two programs with a change on half of their calls."""

    def __init__(self, place, ends):
        self.world = World(
            settings=replace(
                WORLD_SETTINGS,
                hmr=HmrSettings(enabled=True, timeout_s=2.0),
                canary=CanarySettings(steps=(50,), lease_s=LEASE_S),
            ),
            hub_clock=SystemClock(),
        )
        self._place, self._ends = place, ends
        place.write("shop.py", SOURCE)
        place.write("app.py", PROGRAM)
        self.live = Noting(ends.enter_context(place.hub()))
        self.world.deps = replace(self.world.deps, live=self.live)
        self.programs = [self.start(), self.start()]
        wait_for(lambda: len(self.live.processes()) == 2, what="both agents to be attached")
        proposal = submit(self.world.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
        self.world.run()
        request_apply(self.world.deps, proposal.id, actor=OWNER, seen=None)
        self.world.run()
        assert self.row.state is S.CANARY, self.row.log
        assert all(answers(program) == {OLD, NEW} for program in self.programs)

    @property
    def row(self):
        return self.world.deps.proposals.find()[0]

    def start(self):
        environment = self._place.launch().environment(clean_environment())
        return self._ends.enter_context(host(sys.executable, "app.py", env=environment, cwd=self._place.repository))

    def id_of(self, program):
        return next(item.id for item in self.live.processes() if item.pid == program.pid)

    def take_back(self):
        request_automatic_revert(self.world.deps, self.row.id, reason="its calls failed")
        self.world.run()

    def wait_until_reverted(self):
        def reverted():
            self.world.restart()
            return self.row.state is S.REVERTED

        wait_for(reverted, what="the word reverted", timeout_s=60)
        assert [item for item in self.world.violations() if item.level == "fail"] == []


@pytest.fixture
def tried(tmp_path):
    with ExitStack() as ends:
        yield Tried(Place(tmp_path), ends)


def answers(program):
    """Return what a hundred calls gave: of two arms with half of the calls each one is missed in 1 of 2^99 times."""
    return {asked(program) for _ in range(100)}


@pytest.mark.parametrize("which", [0, 1])
def test_where_one_hangs_harm_ends_at_once_in_the_other_and_by_its_lease_in_that_one(tried, which):
    hung, other = tried.programs[which], tried.programs[1 - which]
    identity, other_id = tried.id_of(hung), tried.id_of(other)
    observe(tried.world.deps, tried.row.id)
    renewed_s = time.monotonic()
    os.kill(hung.pid, signal.SIGSTOP)
    try:
        tried.take_back()
        # The other had given back before the hub waited for the one that hangs in earnest.
        waits = [number for number, (process, _) in enumerate(tried.live.answers) if process == identity]
        assert tried.live.answers.index((other_id, LiveOutcome.SWAPPED)) < waits[-1]
        assert answers(other) == {OLD}
        assert tried.row.state is S.REVERTING
        assert "does not answer" in tried.row.state_reason
        wait_for(lambda: time.monotonic() > renewed_s + LEASE_S, what="the lease to be over")
    finally:
        os.kill(hung.pid, signal.SIGCONT)
    assert answers(hung) == {OLD}
    tried.wait_until_reverted()


def test_where_one_is_killed_it_holds_nothing_up_and_starts_on_the_old_code(tried):
    killed, other = tried.programs
    killed.kill()
    killed.wait()
    wait_for(lambda: len(tried.live.processes()) == 1, what="its end to be known")
    tried.take_back()
    assert tried.row.state is S.REVERTED
    assert answers(other) == answers(tried.start()) == {OLD}


def test_one_that_starts_in_mid_canary_routes_its_share_at_the_next_look(tried):
    late = tried.start()
    wait_for(lambda: len(tried.live.processes()) == 3, what="its agent to be attached")
    assert answers(late) == {OLD}
    observe(tried.world.deps, tried.row.id)
    assert answers(late) == {OLD, NEW}
    tried.take_back()
    assert tried.row.state is S.REVERTED
    assert all(answers(program) == {OLD} for program in (*tried.programs, late))
