"""An edit makes a new revision: validated again, agreed to again, and never a way around a refusal."""

from functools import partial

import pytest

from homeostat.audit.proposal_story import approvals, diffs, group_moves, states
from homeostat.core.digests import Digest
from homeostat.core.errors import InvalidInput
from homeostat.core.ids import ActorId
from homeostat.core.limits import MAX_REVISIONS
from homeostat.flows.applying import request_apply
from homeostat.flows.deciding import approve, defer, reject
from homeostat.flows.editing import Edit, edit
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.reverting import request_revert
from homeostat.model.actor import Actor, Role
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.settings import Profile
from homeostat.model.verdict import Denied
from homeostat.proposals.markdown import record_path
from homeostat.rollout.consent import may_approve
from homeostat.testing.world import BOT, DIFF, OWNER, World

OTHER = DIFF.replace("PRICES.get(coupon, 0)", "PRICES.get(coupon, 1)")
STRANGER = Actor(id=ActorId("agent-00000000000c"), role=Role.AGENT, name="stranger")
SECRET = DIFF.replace("PRICES.get(coupon, 0)", 'key("AKIA' + "Q7ZP9LW2XVC8RT4Y" + '")')


def validated(world, diff=DIFF, actor=BOT):
    proposal = submit(world.deps, Submission(title="Mend price", rationale="It breaks.", diff=diff), actor=actor)
    world.run()
    return world.deps.proposals.get(proposal.id)


def edited(world, proposal, actor=BOT, **wanted):
    outcome = edit(world.deps, proposal.id, Edit(**wanted), actor=actor)
    assert isinstance(outcome, Proposal), outcome
    return outcome


def refused(world, proposal, code, actor=BOT, seen=None, **wanted):
    before, size = world.deps.proposals.get(proposal.id), world.store.ledger.head().size
    outcome = edit(world.deps, proposal.id, Edit(**wanted), actor=actor, seen=seen)
    assert isinstance(outcome, Denied) and outcome.code == code, outcome
    assert world.deps.proposals.get(proposal.id) == before
    return world.store.ledger.head().size - size


def test_an_edit_is_a_new_revision_that_is_validated_anew_in_the_same_record():
    world = World()
    first = validated(world)
    second = edited(world, first, diff=OTHER, title="Mend the price", rationale="It raises.", evidence=("seen",))
    assert (second.state, second.revision, second.proof, second.editors) == (ProposalState.PENDING, 2, None, (BOT.id,))
    assert second.change.change_digest != first.change.change_digest
    world.run()
    third = world.deps.proposals.get(first.id)
    assert third.state is ProposalState.AWAITING_APPROVAL and third.diff == OTHER
    assert record_path(third) == record_path(first)
    record = world.deps.record_branch.read(record_path(first)).decode()
    assert "Mend the price" in record and "PRICES.get(coupon, 1)" in record and "**Revision**: 2" in record


def test_what_is_left_out_stays_and_an_edit_of_nothing_is_none():
    world = World()
    first = validated(world)
    assert edited(world, first, title=first.title, diff=DIFF) == first
    second = edited(world, first, rationale="Other words.")
    assert (second.title, second.diff, second.change) == (first.title, first.diff, first.change)


def test_an_approval_does_not_count_for_the_next_revision():
    world = World()
    proposal = validated(world)
    seen = proposal.change.change_digest
    assert isinstance(approve(world.deps, proposal.id, actor=OWNER, seen=seen), Proposal)
    edited(world, proposal, diff=OTHER)
    world.run()
    again = world.deps.proposals.get(proposal.id)
    assert again.state is ProposalState.AWAITING_APPROVAL and again.review is None
    stale = request_apply(world.deps, proposal.id, actor=OWNER, seen=seen)
    assert isinstance(stale, Denied) and stale.code == "digest-changed"


def test_an_application_that_was_asked_is_asked_no_more():
    world = World()
    proposal = validated(world)
    assert isinstance(request_apply(world.deps, proposal.id, actor=OWNER, seen=None), Proposal)
    edited(world, proposal, actor=OWNER, diff=OTHER)
    world.run()
    assert world.deps.proposals.get(proposal.id).state is ProposalState.AWAITING_APPROVAL
    assert world.deps.commits.head() == proposal.change.base_commit


def test_the_ledger_tells_the_story_of_both_revisions():
    world = World()
    proposal = validated(world)
    edited(world, proposal, diff=OTHER)
    world.run()
    request_apply(world.deps, proposal.id, actor=OWNER, seen=None)
    world.run()
    rows, entries = world.deps.proposals.find(), world.store.ledger.entries()
    moves = group_moves(entries)
    assert states(rows, moves) == diffs(rows, moves) == approvals(rows, moves) == []
    forged = [entry for entry in entries if entry.kind != "proposal.edited"]
    assert diffs(rows, group_moves(forged)) != []


@pytest.mark.parametrize("how", ["bot", "owner"])
def test_whoever_edited_is_no_second_pair_of_eyes(how):
    world = World()
    proposal = validated(world)
    edited(world, proposal, actor=OWNER, diff=OTHER)
    if how == "bot":
        edited(world, proposal, actor=BOT, rationale="Nothing of the diff.")
    world.run()
    row = world.deps.proposals.get(proposal.id)
    asked = partial(may_approve, OWNER, row, seen=None, authorizer=world.deps.authorizer)
    assert asked(profile=Profile.STANDARD).unreviewed
    assert asked(profile=Profile.PROD).code == "own-proposal"


def test_a_revision_that_was_taken_back_is_locked_out():
    world = World()
    applied = validated(world)
    request_apply(world.deps, applied.id, actor=OWNER, seen=None)
    world.run()
    request_revert(world.deps, applied.id, actor=OWNER, reason="no")
    world.run()
    assert world.deps.proposals.get(applied.id).state is ProposalState.REVERTED
    other = validated(world, OTHER)
    refused(world, other, "locked-out", diff=DIFF)
    refused(world, applied, "illegal-transition", actor=OWNER, diff=OTHER)


def test_what_may_not_be_edited_so_is_refused_and_left_as_it_was():
    world = World()
    one = validated(world)
    validated(world, OTHER)
    refused(world, one, "not-yours", actor=STRANGER, title="Mine")
    refused(world, one, "duplicate-diff", diff=OTHER)
    refused(world, one, "digest-changed", seen=Digest("sha256:0"), title="Other")
    assert refused(world, one, "secret-in-diff", diff=SECRET) == 1  # on record, without the bytes
    with pytest.raises(InvalidInput):
        edit(world.deps, one.id, Edit(title="a\nb"), actor=BOT)
    with pytest.raises(InvalidInput):
        edit(world.deps, one.id, Edit(diff="\ud800"), actor=BOT)


def test_what_is_decided_is_not_edited_and_what_is_put_aside_or_blocked_is():
    world = World()
    rejected, aside = validated(world), validated(world, OTHER)
    reject(world.deps, rejected.id, actor=OWNER, notes="no")
    refused(world, rejected, "illegal-transition", title="x")
    defer(world.deps, aside.id, actor=OWNER)
    assert edited(world, aside, title="Better").state is ProposalState.PENDING


def test_revisions_have_an_end():
    world = World()
    proposal = validated(world)
    for number in range(2, MAX_REVISIONS + 1):
        assert edited(world, proposal, title=f"Title {number}").revision == number
    refused(world, proposal, "too-many-revisions", title="One more")
