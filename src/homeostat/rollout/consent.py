"""Whose approval counts, and for what exactly.

Consent binds a digest: of the diff, the base commit and the policy in force. Whoever approves says
which digest they saw, where their door can send it; a change they have not seen is not approved.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from homeostat.core.canonical_json import encode
from homeostat.core.digests import Digest, digest_bytes, short
from homeostat.core.ids import CommitId
from homeostat.model.actor import Actor
from homeostat.model.proposal import ChangeRef, Proposal, ProposalState
from homeostat.model.settings import Profile
from homeostat.model.verdict import Denied
from homeostat.policy.authorization import Action, Authorizer, question_about


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The approval counts."""

    unreviewed: bool
    """The approver is the one who proposed or edited it: nobody else looked."""

    policies: tuple[str, ...]
    """Ids of the policies that permit it."""


def change_ref(base_commit: CommitId, diff: bytes, policy_digest: Digest) -> ChangeRef:
    """Return the digests that stand for a change."""
    diff_digest = digest_bytes(diff)
    whole = {"base_commit": base_commit, "diff_digest": diff_digest, "policy_digest": policy_digest}
    return ChangeRef(
        base_commit=base_commit,
        diff_digest=diff_digest,
        policy_digest=policy_digest,
        change_digest=digest_bytes(encode(whole)),
    )


_NOT_NOW: Mapping[ProposalState, tuple[str, str]] = {
    ProposalState.PENDING: ("not-validated", "it waits to be validated"),
    ProposalState.VALIDATING: ("not-validated", "it is being validated"),
    ProposalState.BLOCKED: ("blocked", "validation blocked it"),
    ProposalState.REJECTED: ("rejected", "it was rejected"),
    ProposalState.EXPIRED: ("expired", "it expired"),
    ProposalState.DEFERRED: ("deferred", "it was put aside; resume it first"),
    ProposalState.FAILED: ("apply-failed", "applying it failed; hand a mended diff in"),
    ProposalState.REVERTED: ("locked-out", "it was taken back; a person may hand its diff in again"),
}


def may_approve(
    actor: Actor, proposal: Proposal, *, seen: Digest | None, profile: Profile, authorizer: Authorizer
) -> Allowed | Denied:
    """Decide whether this actor's approval of this proposal counts.

    `seen` is the change digest that the person had before them; None where the door cannot send it
    (the source document's `apply`), and then the row's own digest is meant.
    """
    question = question_about(actor, Action.APPROVE, proposal, profile=profile)
    answer = authorizer.answer(question)
    refused, not_now = answer.refusal(), _not_now(proposal)
    if refused is not None and not_now is not None and refused.code == not_now.code:
        return replace(not_now, policies=refused.policies)  # the same, and the row's own words say more
    if refused is not None:
        return refused
    if not_now is not None:
        return not_now
    if seen is not None and seen != proposal.change.change_digest:
        return Denied(
            code="digest-changed",
            reasons=(f"you saw {short(seen)}, the proposal is now {short(proposal.change.change_digest)}",),
            hint="look at it again, then approve what you see",
        )
    return Allowed(unreviewed=question.own, policies=answer.policies)


def _not_now(proposal: Proposal) -> Denied | None:
    if proposal.state is ProposalState.AWAITING_APPROVAL:
        return None
    code, why = _NOT_NOW.get(proposal.state, ("already-approved", f"it is {proposal.state.value} already"))
    blocked = proposal.state is ProposalState.BLOCKED
    return Denied(
        code=code,
        reasons=(f"proposal {proposal.id}: {why}: {proposal.state_reason}",),
        hint=f"hand in a mended diff: homeostat proposals edit {proposal.id[:8]} --diff FILE" if blocked else None,
    )
