"""Whose approval counts, and for what exactly.

Consent binds a digest: of the diff, the base commit and the policy in force. Whoever approves says
which digest they saw, where their door can send it; a change they have not seen is not approved.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from homeostat.core.canonical_json import encode
from homeostat.core.digests import Digest, digest_bytes, short
from homeostat.core.ids import CommitId
from homeostat.model.actor import Actor
from homeostat.model.proposal import ChangeRef, Proposal, ProposalState
from homeostat.model.settings import Profile
from homeostat.model.verdict import Denied


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The approval counts."""

    unreviewed: bool
    """The approver is the one who proposed or edited it: nobody else looked."""


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


def may_approve(actor: Actor, proposal: Proposal, *, seen: Digest | None, profile: Profile) -> Allowed | Denied:
    """Decide whether this actor's approval of this proposal counts.

    `seen` is the change digest that the person had before them; None where the door cannot send it
    (the source document's `apply`), and then the row's own digest is meant.
    """
    if not actor.may_approve:
        return Denied(code="not-a-person", reasons=("an agent's token cannot approve, whatever it proposes",))
    if proposal.state is not ProposalState.AWAITING_APPROVAL:
        code, why = _NOT_NOW.get(proposal.state, ("already-approved", f"it is {proposal.state.value} already"))
        return Denied(code=code, reasons=(f"proposal {proposal.id}: {why}: {proposal.state_reason}",))
    if seen is not None and seen != proposal.change.change_digest:
        return Denied(
            code="digest-changed",
            reasons=(f"you saw {short(seen)}, the proposal is now {short(proposal.change.change_digest)}",),
            hint="look at it again, then approve what you see",
        )
    own = actor.id == proposal.submitted_by or actor.id in proposal.editors
    if own and profile is Profile.PROD:
        return Denied(code="own-proposal", reasons=("in prod nobody approves their own proposal",))
    return Allowed(unreviewed=own)
