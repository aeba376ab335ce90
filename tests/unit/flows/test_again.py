"""A diff that was taken back is locked out; only a person brings it back, with a reason, and on record."""

from dataclasses import replace

import pytest

from homeostat.core.errors import InvalidInput
from homeostat.core.limits import MAX_TEXT_CHARS
from homeostat.flows.applying import request_apply
from homeostat.flows.editing import Edit, edit
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.reverting import request_revert
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.verdict import Denied
from homeostat.testing.world import BOT, DIFF, OWNER, World

MEND = Submission(title="Mend price", rationale="Unknown coupons raise.", diff=DIFF)
AGAIN = replace(MEND, again="the outage was the network's, not this change's")


def taken_back(world: World, submission: Submission = MEND, actor=BOT) -> Proposal:
    proposal = submit(world.deps, submission, actor=actor)
    assert isinstance(proposal, Proposal), proposal
    world.run()
    assert isinstance(request_apply(world.deps, proposal.id, actor=OWNER, seen=None), Proposal)
    world.run()
    assert isinstance(request_revert(world.deps, proposal.id, actor=OWNER, reason="an outage"), Proposal)
    world.run()
    row = world.deps.proposals.get(proposal.id)
    assert row is not None and row.state is ProposalState.REVERTED
    return row


def entries_of(world: World, proposal: Proposal):
    return [entry for entry in world.store.ledger.entries() if entry.subject == proposal.id]


def test_a_person_brings_it_back_with_a_reason_and_it_goes_the_whole_way_anew():
    world = World()
    before = taken_back(world)
    again = taken_back(world, AGAIN, OWNER)
    assert again.id != before.id and again.again_after == before.id
    assert any("the network's" in line and before.id in line for line in again.evidence)
    first = entries_of(world, again)[0]
    assert (first.kind, first.actor) == ("proposal.submitted", OWNER.id)
    assert first.body["again_after"] == before.id
    assert any(entry.kind == "proposal.approved" for entry in entries_of(world, again)), "it was approved anew"
    third = taken_back(world, AGAIN, OWNER)
    assert third.again_after == again.id, "and once more, each time with a word of its own"


@pytest.mark.parametrize(
    ("submission", "actor"),
    [(MEND, BOT), (AGAIN, BOT), (MEND, OWNER), (replace(AGAIN, again="  "), OWNER)],
    ids=["bot", "bot with a reason", "person without", "person with an empty one"],
)
def test_nobody_else_does(submission, actor):
    world = World()
    taken_back(world)
    head = world.store.ledger.head()
    outcome = submit(world.deps, submission, actor=actor)
    assert isinstance(outcome, Denied) and outcome.code == "locked-out"
    assert outcome.hint is not None and "--again" in outcome.hint
    assert world.store.ledger.head() == head


def test_a_bot_stays_locked_out_after_a_person_brought_it_back_and_it_was_decided_on():
    world = World()
    taken_back(world)
    taken_back(world, AGAIN, OWNER)
    outcome = submit(world.deps, AGAIN, actor=BOT)
    assert isinstance(outcome, Denied) and outcome.code == "locked-out"


def test_what_was_brought_back_can_be_edited_in_its_words_and_other_proposals_not_into_it():
    world = World()
    taken_back(world)
    again = submit(world.deps, AGAIN, actor=OWNER)
    assert isinstance(again, Proposal)
    world.run()
    edited = edit(world.deps, again.id, Edit(title="Mend it, again"), actor=OWNER)
    assert isinstance(edited, Proposal) and edited.revision == 2 and edited.again_after == again.again_after
    other = submit(world.deps, replace(MEND, diff=DIFF.replace("coupon, 0", "coupon, 1")), actor=BOT)
    assert isinstance(other, Proposal)
    outcome = edit(world.deps, other.id, Edit(diff=DIFF), actor=BOT)
    assert isinstance(outcome, Denied)


def test_the_reason_counts_for_nothing_where_nothing_was_taken_back():
    world = World()
    first = submit(world.deps, AGAIN, actor=OWNER)
    assert isinstance(first, Proposal) and first.again_after is None
    assert not any("tried again" in line for line in first.evidence)
    assert submit(world.deps, AGAIN, actor=OWNER) == first


def test_a_reason_without_end_is_refused():
    with pytest.raises(InvalidInput):
        submit(World().deps, replace(MEND, again="x" * (MAX_TEXT_CHARS + 1)), actor=OWNER)
