from dataclasses import replace

import pytest
from builders import BASE, BOT, DIFF, OWNER, POLICY, proposal

from homeostat.core.digests import Digest
from homeostat.core.ids import CommitId
from homeostat.model.actor import SYSTEM
from homeostat.model.proposal import ProposalState
from homeostat.model.settings import Profile
from homeostat.model.verdict import Denied
from homeostat.rollout.consent import Allowed, change_ref, may_approve

READY = proposal(state=ProposalState.AWAITING_APPROVAL)


def test_an_owner_approves_what_a_bot_proposed():
    assert may_approve(OWNER, READY, seen=READY.change.change_digest, profile=Profile.PROD) == Allowed(unreviewed=False)


def test_a_solo_owners_own_proposal_is_allowed_and_marked_unreviewed():
    own = replace(READY, submitted_by=OWNER.id)
    assert may_approve(OWNER, own, seen=None, profile=Profile.STANDARD) == Allowed(unreviewed=True)


def test_in_prod_nobody_approves_their_own_proposal():
    own = replace(READY, submitted_by=OWNER.id)
    outcome = may_approve(OWNER, own, seen=None, profile=Profile.PROD)
    assert isinstance(outcome, Denied) and outcome.code == "own-proposal"


@pytest.mark.parametrize("actor", [BOT, SYSTEM])
def test_agents_and_the_hub_itself_never_approve(actor):
    outcome = may_approve(actor, READY, seen=READY.change.change_digest, profile=Profile.STANDARD)
    assert isinstance(outcome, Denied) and outcome.code == "not-a-person"


def test_a_digest_that_was_seen_and_is_another_now_is_denied():
    outcome = may_approve(OWNER, READY, seen=Digest("sha256:" + "0" * 64), profile=Profile.STANDARD)
    assert isinstance(outcome, Denied) and outcome.code == "digest-changed"


@pytest.mark.parametrize("state", [state for state in ProposalState if state is not ProposalState.AWAITING_APPROVAL])
def test_every_other_state_is_denied_with_a_reason(state):
    outcome = may_approve(OWNER, replace(READY, state=state), seen=None, profile=Profile.STANDARD)
    assert isinstance(outcome, Denied) and outcome.reasons[0]


def test_the_change_digest_covers_base_diff_and_policy():
    reference = change_ref(BASE, DIFF.encode(), POLICY.digest).change_digest
    others = {
        change_ref(CommitId("b" * 40), DIFF.encode(), POLICY.digest).change_digest,
        change_ref(BASE, DIFF.encode() + b" ", POLICY.digest).change_digest,
        change_ref(BASE, DIFF.encode(), Digest("sha256:" + "0" * 64)).change_digest,
    }
    assert len(others | {reference}) == 4
