"""Whoever writes into the rows has nothing approved, begun or finished that the ledger does not know of."""

from dataclasses import replace

import pytest

from homeostat.core.errors import Conflict, IntegrityFailure
from homeostat.flows.applying import apply, request_apply
from homeostat.flows.deciding import approve, defer
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.vouching import check_recorded
from homeostat.model.proposal import Application, Proposal, ProposalState, Review
from homeostat.testing.world import BOT, DIFF, OWNER, PROCESS, SOURCE, World

S = ProposalState


def ready(world):
    proposal = submit(world.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
    world.run()
    return world.deps.proposals.get(proposal.id)


def by_hand(world, row):
    world.store.proposals._memory.rows.proposals[row.id] = row


def review_of(row):
    return Review(by=OWNER.id, at=row.updated_at, decision="approved", change_digest=row.change.change_digest)


def application_of(world, row):
    candidate = world.repository.branches[f"homeostat/proposal-{row.id}"]
    head = world.deps.commits.head()
    return Application(before_commit=head, commit=candidate, backup="20260105/x", at=row.updated_at)


FORGED = {
    "state": lambda world, row: replace(row, state=S.APPROVED),
    "review": lambda world, row: replace(row, state=S.APPROVED, review=review_of(row)),
    "asked": lambda world, row: replace(row, state=S.APPROVED, review=review_of(row), apply_requested=True),
    "begun": lambda world, row: replace(
        row, state=S.APPLYING, review=review_of(row), application=application_of(world, row)
    ),
    "other change": lambda world, row: replace(row, change=replace(row.change, change_digest="sha256:" + "1" * 64)),
    "other diff": lambda world, row: replace(row, diff=row.diff.replace("+", "+ ", 1)),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_row_that_was_written_by_hand_is_neither_approved_nor_applied(forge):
    world = World()
    row = forge(world, ready(world))
    by_hand(world, row)
    entries = world.deps.ledger.head().size
    attempts = [lambda: request_apply(world.deps, row.id, actor=OWNER, seen=None)]
    if row.state is not S.AWAITING_APPROVAL:
        attempts.append(lambda: apply(world.deps, row.id))
    for attempt in attempts:
        with pytest.raises(IntegrityFailure, match="is not what the ledger recorded") as caught:
            attempt()
        assert caught.value.code == "row-altered"
    assert world.deps.ledger.head().size == entries
    assert world.repository.disk["shop.py"].content.decode() == world.live.source(PROCESS, "shop.py") == SOURCE


def test_a_proposal_that_was_put_aside_and_is_brought_back_by_hand_cannot_be_approved():
    world = World()
    proposal = ready(world)
    assert isinstance(defer(world.deps, proposal.id, actor=OWNER), Proposal)
    by_hand(world, replace(world.deps.proposals.get(proposal.id), state=S.AWAITING_APPROVAL))
    with pytest.raises(IntegrityFailure, match="is not what the ledger recorded"):
        approve(world.deps, proposal.id, actor=OWNER, seen=proposal.change.change_digest)


def test_a_row_that_moved_on_meanwhile_is_a_conflict_and_no_forgery():
    world = World()
    proposal = ready(world)
    check_recorded(world.deps, proposal)
    assert isinstance(defer(world.deps, proposal.id, actor=OWNER), Proposal)
    with pytest.raises(Conflict, match="changed meanwhile"):
        check_recorded(world.deps, proposal)
    check_recorded(world.deps, world.deps.proposals.get(proposal.id))
