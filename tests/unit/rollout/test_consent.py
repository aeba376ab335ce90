from dataclasses import replace
from functools import partial

import pytest
from builders import BASE, BOT, DIFF, OWNER, POLICY, proposal

from homeostat.core.digests import Digest
from homeostat.core.ids import CommitId
from homeostat.model.actor import SYSTEM
from homeostat.model.proposal import ProposalState
from homeostat.model.settings import Profile
from homeostat.model.verdict import Denied
from homeostat.rollout.consent import Allowed, change_ref, may_approve
from homeostat.testing.policies import BUILT_IN_POLICIES

READY = proposal(state=ProposalState.AWAITING_APPROVAL)
asked = partial(may_approve, authorizer=BUILT_IN_POLICIES)
DECIDES = ("people-decide",)


def test_an_owner_approves_what_a_bot_proposed():
    assert asked(OWNER, READY, seen=READY.change.change_digest, profile=Profile.PROD) == Allowed(
        unreviewed=False, policies=DECIDES
    )


def test_a_solo_owners_own_proposal_is_allowed_and_marked_unreviewed():
    own = replace(READY, submitted_by=OWNER.id)
    assert asked(OWNER, own, seen=None, profile=Profile.STANDARD) == Allowed(unreviewed=True, policies=DECIDES)


def test_in_prod_nobody_approves_their_own_proposal():
    own = replace(READY, submitted_by=OWNER.id)
    outcome = asked(OWNER, own, seen=None, profile=Profile.PROD)
    assert isinstance(outcome, Denied) and outcome.code == "own-proposal"
    assert outcome.policies == ("in-prod-nobody-approves-their-own",) and outcome.policies[0] in outcome.reasons[-1]


@pytest.mark.parametrize("actor", [BOT, SYSTEM])
def test_agents_and_the_hub_itself_never_approve(actor):
    outcome = asked(actor, READY, seen=READY.change.change_digest, profile=Profile.STANDARD)
    assert isinstance(outcome, Denied) and outcome.code == "not-a-person"


def test_a_digest_that_was_seen_and_is_another_now_is_denied():
    outcome = asked(OWNER, READY, seen=Digest("sha256:" + "0" * 64), profile=Profile.STANDARD)
    assert isinstance(outcome, Denied) and outcome.code == "digest-changed"


@pytest.mark.parametrize("state", [state for state in ProposalState if state is not ProposalState.AWAITING_APPROVAL])
def test_every_other_state_is_denied_with_a_reason(state):
    outcome = asked(OWNER, replace(READY, state=state), seen=None, profile=Profile.STANDARD)
    assert isinstance(outcome, Denied) and outcome.reasons[0]


def test_of_a_blocked_one_the_row_says_why_and_the_policy_is_named():
    outcome = asked(
        OWNER,
        replace(READY, state=ProposalState.BLOCKED, state_reason="its tests fail"),
        seen=None,
        profile=Profile.STANDARD,
    )
    assert isinstance(outcome, Denied) and outcome.code == "blocked" and outcome.reasons[0].endswith("its tests fail")
    assert outcome.policies == ("blocked-is-never-approved",)


def test_the_change_digest_covers_base_diff_and_policy():
    reference = change_ref(BASE, DIFF.encode(), POLICY.digest).change_digest
    others = {
        change_ref(CommitId("b" * 40), DIFF.encode(), POLICY.digest).change_digest,
        change_ref(BASE, DIFF.encode() + b" ", POLICY.digest).change_digest,
        change_ref(BASE, DIFF.encode(), Digest("sha256:" + "0" * 64)).change_digest,
    }
    assert len(others | {reference}) == 4
