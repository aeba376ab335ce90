"""Reading and changing rows, as every flow does it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from homeostat.core.ids import CommitId
from homeostat.flows.applying import request_apply
from homeostat.flows.observing import last_evidence
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.recovering import recover
from homeostat.flows.restarting import AskedRestart, request_restart
from homeostat.flows.transition import moved_since, read_all
from homeostat.model.ledger import EntryDraft
from homeostat.model.proposal import Application, ProposalState
from homeostat.testing.example_rows import SteppingClock, example_proposal, move_entry
from homeostat.testing.memory_store import MemoryStore
from homeostat.testing.world import BOT, DIFF, OWNER, World


@pytest.mark.parametrize("count", [0, 1, 2, 4, 5])
def test_every_row_is_read_once_however_many_pages_it_takes(count):
    store = MemoryStore(clock=SteppingClock())
    for number in range(count):
        row = example_proposal(number + 1)
        store.proposals.insert(row, move_entry(row, "submitted", ProposalState.PENDING))
    assert read_all(store.proposals, page=2) == store.proposals.find(limit=100)
    assert len(read_all(store.proposals, page=2)) == count
    assert read_all(store.proposals, states=frozenset({ProposalState.PENDING}), page=2) == store.proposals.find()
    assert not read_all(store.proposals, states=frozenset({ProposalState.BLOCKED}), page=2)


def test_what_moved_lately_is_found_however_old_it_is_and_however_much_came_after_it():
    world = World()
    old = submit(world.deps, Submission(title="Old", rationale="why", diff=DIFF), actor=BOT)
    world.run()
    world.clock.move(timedelta(days=7))
    since = world.clock.now()
    for number in range(1000):
        entry = EntryDraft(kind="finding.opened", actor=OWNER.id, subject=str(number), body={"to": "open"})
        world.deps.ledger.append(entry)
    assert not moved_since(world.deps, since)
    request_apply(world.deps, old.id, actor=OWNER, seen=None)
    world.run()
    for number in range(1000):
        entry = EntryDraft(kind="finding.opened", actor=OWNER.id, subject=str(number), body={"to": "open"})
        world.deps.ledger.append(entry)
    assert moved_since(world.deps, since) == [world.deps.proposals.get(old.id)]


class ShortPages:
    """A store that gives at most two rows at once, as one with many thousands gives only so many."""

    def __init__(self, proposals):
        self._proposals = proposals

    def __getattr__(self, name):
        return getattr(self._proposals, name)

    def find(self, *, limit=100, **options):
        return self._proposals.find(limit=min(limit, 2), **options)


def test_every_row_under_way_is_taken_up_and_every_change_watched_however_many_there_are():
    world = World()
    deps = replace(world.deps, proposals=ShortPages(world.deps.proposals))
    applied = Application(before_commit=CommitId("a" * 40), commit=CommitId("b" * 40), backup="x", at=world.clock.now())
    states = [ProposalState.PENDING] * 5 + [ProposalState.AWAITING_RESTART] * 5
    for number, state in enumerate(states, start=1):
        row = example_proposal(number, state=state, application=applied if number > 5 else None)
        world.deps.proposals.insert(row, move_entry(row, "submitted", state))
    assert len(recover(deps)) == 5
    oldest = world.deps.proposals.find(states=frozenset({ProposalState.AWAITING_RESTART}))[-1]
    moved = replace(oldest, updated_at=world.clock.now() + timedelta(days=1))
    world.deps.proposals.save(moved, move_entry(moved, "restart_asked", ProposalState.AWAITING_RESTART))
    assert last_evidence(deps) == moved.updated_at
    world.deps.restarter.supervise("shop")
    asked = request_restart(deps, actor=OWNER)
    assert isinstance(asked, AskedRestart) and len(asked.proposals) == 5
