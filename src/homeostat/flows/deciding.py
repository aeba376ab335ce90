"""A person's decision on a change they have seen."""

from homeostat.core.digests import Digest
from homeostat.core.errors import InvalidInput
from homeostat.core.ids import ProposalId
from homeostat.core.limits import MAX_TEXT_CHARS
from homeostat.flows.deps import Deps
from homeostat.flows.permitting import ask
from homeostat.flows.transition import drop_candidate, read, transition
from homeostat.flows.vouching import check_recorded
from homeostat.model.actor import Actor
from homeostat.model.proposal import Proposal, Review
from homeostat.model.verdict import Denied
from homeostat.policy.authorization import Action
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
    policies: tuple[str, ...] = (),
) -> Proposal | Denied:
    """Record consent to exactly the change digest that stands in the row (and was `seen`).

    `policies` are those that let the actor ask for what is asked together with the approval.
    """
    proposal = read(deps, proposal_id)
    consent = may_approve(actor, proposal, seen=seen, profile=deps.settings.profile, authorizer=deps.authorizer)
    if isinstance(consent, Denied):
        return consent
    # After whoever may not and what cannot be: handing a blocked diff in again would only block it again.
    if proposal.change.policy_digest != deps.policy.digest:
        return policy_changed()
    check_recorded(deps, proposal)
    review = _review(deps, proposal, actor, "approved", notes, label, unreviewed=consent.unreviewed)
    approved = Approved(review=review, apply_requested=apply_requested, forced=forced)
    return transition(deps, proposal, approved, actor=actor, policies=(*consent.policies, *policies))


def policy_changed() -> Denied:
    """Refuse what was validated, or agreed to, under another policy than the one in force."""
    return Denied(
        code="policy-changed",
        reasons=("the policy changed since this proposal was validated",),
        hint="hand the same diff in again: it is validated under the policy in force",
    )


def reject(deps: Deps, proposal_id: ProposalId, *, actor: Actor, notes: str, label: str = "") -> Proposal | Denied:
    """Reject with a reason; without one the source's contract refuses it."""
    check_reason(notes, decision="a rejection")
    proposal = read(deps, proposal_id)
    permitted = ask(deps, actor, Action.REJECT, proposal, reason=notes)
    if isinstance(permitted, Denied):
        return permitted
    review = _review(deps, proposal, actor, "rejected", notes, label)
    outcome = transition(deps, proposal, Rejected(review=review), actor=actor, policies=permitted.policies)
    if isinstance(outcome, Proposal):
        drop_candidate(deps, proposal.id)
    return outcome


def defer(deps: Deps, proposal_id: ProposalId, *, actor: Actor, notes: str = "", label: str = "") -> Proposal | Denied:
    """Put a proposal aside until somebody resumes it."""
    proposal = read(deps, proposal_id)
    permitted = ask(deps, actor, Action.DEFER, proposal, reason=notes)
    if isinstance(permitted, Denied):
        return permitted
    review = _review(deps, proposal, actor, "deferred", notes, label)
    return transition(deps, proposal, Deferred(review=review), actor=actor, policies=permitted.policies)


def resume(deps: Deps, proposal_id: ProposalId, *, actor: Actor) -> Proposal | Denied:
    """Take a deferred proposal up again; it is validated anew."""
    proposal = read(deps, proposal_id)
    permitted = ask(deps, actor, Action.RESUME, proposal)
    if isinstance(permitted, Denied):
        return permitted
    outcome = transition(deps, proposal, Resumed(), actor=actor, policies=permitted.policies)
    if isinstance(outcome, Proposal):
        deps.start.submitted(outcome.id, retry=True)
    return outcome


def check_reason(reason: str, *, decision: str) -> None:
    """Raise `InvalidInput` for a decision without its reason: nobody is asked about it."""
    if not reason.strip():
        raise InvalidInput("reason-missing", f"{decision} needs a reason", hint="add --reason '...'")


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
