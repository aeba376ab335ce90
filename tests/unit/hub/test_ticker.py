"""When the hub beats: steadily while something is in hand, seldom when nothing is, at once when told."""

import threading
import time
from contextlib import contextmanager
from dataclasses import replace

from homeostat.flows.beating import RECOVER_EVERY
from homeostat.flows.troubles import Troubles
from homeostat.hub.ticker import Ticker
from homeostat.model.proposal import ProposalState
from homeostat.testing.world import World

LONG_S = 60.0


class Looks:
    """Counts how often something was looked at."""

    def __init__(self, inner):
        self._inner = inner
        self.looks = 0
        self.looked = threading.Condition()

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def count(self):
        with self.looked:
            self.looks += 1
            self.looked.notify_all()

    def wait_for(self, looks, *, within_s=LONG_S):
        with self.looked:
            return self.looked.wait_for(lambda: self.looks >= looks, within_s)


class Records(Looks):
    """Records that may lag."""

    failing = False

    def pending_records(self):
        self.count()
        if self.failing:
            raise RuntimeError("scripted")
        return self._inner.pending_records()


class Rows(Looks):
    """Proposals, of which those under canary are looked at."""

    def find(self, *, states=None, **more):
        if states == {ProposalState.CANARY}:
            self.count()
        return self._inner.find(states=states, **more)


@contextmanager
def ticking(*, beat_s):
    world = World()
    records = Records(world.deps.records)
    chores = []
    deps = replace(world.deps, records=records, proposals=Rows(world.deps.proposals))
    ticker = Ticker(deps, Troubles(), chores={"chore": lambda: chores.append(1)}, beat_s=beat_s)
    ticker.start()
    try:
        yield ticker, records, chores
    finally:
        ticker.close()


def test_with_nothing_in_hand_it_beats_only_as_often_as_stuck_flows_are_looked_for():
    started = time.monotonic()
    with ticking(beat_s=0.05) as (_, records, chores):
        assert records.wait_for(5)  # one beat, then quiet ones, which look twice: recovering catches up too
        assert time.monotonic() - started > 0.05 * RECOVER_EVERY  # a busy machine only makes it more
        assert chores


def test_a_failing_activity_keeps_it_beating():
    with ticking(beat_s=0.01) as (_, records, _chores):
        records.failing = True
        assert records.wait_for(3 * RECOVER_EVERY)


def test_what_was_written_is_looked_at_within_a_beat_and_what_it_is_woken_for_at_once():
    with ticking(beat_s=0.2) as (ticker, records, _):
        assert records.wait_for(1)
        for tell in (ticker.stir, ticker.wake):
            seen = records.looks
            tell()
            assert records.wait_for(seen + 1)


def test_what_is_heard_of_canaries_is_looked_at_at_once_and_nothing_else_is():
    with ticking(beat_s=LONG_S) as (ticker, records, _):
        records.failing = True  # so that the next beat is a long way off
        ticker.wake()
        assert records.wait_for(1)
        rows = ticker._deps.proposals
        for _ in range(3):
            seen, beats = rows.looks, records.looks
            ticker.hear()
            assert rows.wait_for(seen + 1)
            assert records.looks == beats


def test_it_ends_at_once_however_long_it_would_have_waited():
    with ticking(beat_s=LONG_S) as (ticker, _, _chores):
        started = time.monotonic()
        ticker.close()
        assert time.monotonic() - started < LONG_S / 2  # some milliseconds, or else all of it
