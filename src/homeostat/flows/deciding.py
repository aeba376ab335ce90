"""A person's decision on a change they have seen."""

from homeostat.core.digests import Digest
from homeostat.core.errors import InvalidInput
from homeostat.core.ids import ProposalId
from homeostat.core.limits import MAX_TEXT_CHARS
from homeostat.flows.deps import Deps
from homeostat.flows.transition import drop_candidate, read, transition
from homeostat.flows.vouching import check_recorded
from homeostat.model.actor import Actor
from homeostat.model.proposal import Proposal, Review
from homeostat.model.verdict import Denied
from homeostat.proposals.events import Approved, Deferred, Rejected, Resumed
from homeostat.rollout.consent import may_approve
from homeostat.telemetry.redact import clean


def approve(
    deps: Deps,
    proposal_id: ProposalId,
    *,
    actor: Actor,
    seen: Digest | None,
    apply_requested: bool = False,
    forced: bool = False,
    notes: str = "",
    label: str = "",
) -> Proposal | Denied:
    """Record consent to exactly the change digest that stands in the row (and was `seen`)."""
    proposal = read(deps, proposal_id)
    if proposal.change.policy_digest != deps.policy.digest:
        return policy_changed()
    consent = may_approve(actor, proposal, seen=seen, profile=deps.settings.profile)
    if isinstance(consent, Denied):
        return consent
    check_recorded(deps, proposal)
    review = _review(deps, proposal, actor, "approved", notes, label, unreviewed=consent.unreviewed)
    approved = Approved(review=review, apply_requested=apply_requested, forced=forced)
    return transition(deps, proposal, approved, actor=actor)


def policy_changed() -> Denied:
    """Refuse what was validated, or agreed to, under another policy than the one in force."""
    return Denied(
        code="policy-changed",
        reasons=("the policy changed since this proposal was validated",),
        hint="hand the same diff in again: it is validated under the policy in force",
    )


def reject(deps: Deps, proposal_id: ProposalId, *, actor: Actor, notes: str, label: str = "") -> Proposal | Denied:
    """Reject with a reason; without one the source's contract refuses it."""
    refused = person_with_reason(actor, notes, decision="a rejection")
    if refused is not None:
        return refused
    proposal = read(deps, proposal_id)
    review = _review(deps, proposal, actor, "rejected", notes, label)
    outcome = transition(deps, proposal, Rejected(review=review), actor=actor)
    if isinstance(outcome, Proposal):
        drop_candidate(deps, proposal.id)
    return outcome


def defer(deps: Deps, proposal_id: ProposalId, *, actor: Actor, notes: str = "", label: str = "") -> Proposal | Denied:
    """Put a proposal aside until somebody resumes it."""
    refused = person_only(actor)
    if refused is not None:
        return refused
    proposal = read(deps, proposal_id)
    review = _review(deps, proposal, actor, "deferred", notes, label)
    return transition(deps, proposal, Deferred(review=review), actor=actor)


def resume(deps: Deps, proposal_id: ProposalId, *, actor: Actor) -> Proposal | Denied:
    """Take a deferred proposal up again; it is validated anew."""
    refused = person_only(actor)
    if refused is not None:
        return refused
    outcome = transition(deps, read(deps, proposal_id), Resumed(), actor=actor)
    if isinstance(outcome, Proposal):
        deps.start.submitted(outcome.id, retry=True)
    return outcome


def person_only(actor: Actor) -> Denied | None:
    """Refuse a decision by anybody but a person."""
    if actor.may_approve:
        return None
    return Denied(code="not-a-person", reasons=("an agent's token cannot decide on proposals",))


def person_with_reason(actor: Actor, reason: str, *, decision: str) -> Denied | None:
    """Refuse a decision by anybody but a person; one that comes without its reason is not even asked about."""
    if not reason.strip():
        raise InvalidInput("reason-missing", f"{decision} needs a reason", hint="add --reason '...'")
    return person_only(actor)


def _review(
    deps: Deps, proposal: Proposal, actor: Actor, decision: str, notes: str, label: str, *, unreviewed: bool = False
) -> Review:
    return Review(
        by=actor.id,
        at=deps.clock.now(),
        decision=decision,
        change_digest=proposal.change.change_digest,
        notes=clean(notes.strip())[:MAX_TEXT_CHARS],
        unreviewed=unreviewed,
        label=clean(label.strip())[:80],
    )
