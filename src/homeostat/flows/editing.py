"""A new revision of a proposal: other words or another diff, validated again from the start.

What was said of the revision before (its proof, an approval) does not count for the new one. The
record keeps its file; the ledger names both diffs. A revision that was taken back is locked out here
as it is where patches are handed in, and no edit turns one open proposal into another.
"""

from dataclasses import dataclass

from homeostat.core.digests import Digest, short
from homeostat.core.ids import CommitId, ProposalId
from homeostat.core.limits import MAX_REVISIONS
from homeostat.flows.deps import Deps
from homeostat.flows.permitting import ask
from homeostat.flows.proposing import (
    Submission,
    base_commit,
    check_texts,
    known_diff,
    one_line,
    one_submission_at_a_time,
    queue_is_full,
    refuse_secrets,
    resolve_diff,
)
from homeostat.flows.transition import drop_candidate, read, transition
from homeostat.model.actor import Actor
from homeostat.model.proposal import Proposal
from homeostat.model.verdict import Denied
from homeostat.policy.authorization import Action
from homeostat.proposals.events import Edited
from homeostat.proposals.lifecycle import refusal
from homeostat.rollout.consent import change_ref
from homeostat.telemetry.redact import clean


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What shall be different; None leaves it as it is."""

    title: str | None = None
    rationale: str | None = None
    diff: str | None = None
    base_commit: str = ""
    """Empty: the deployed head for a new diff, else the base that the diff has."""

    evidence: tuple[str, ...] | None = None


def edit(
    deps: Deps, proposal_id: ProposalId, wanted: Edit, *, actor: Actor, seen: Digest | None = None
) -> Proposal | Denied:
    """Make a new revision and start its validation; an edit that changes nothing answers with what is there.

    A person may edit any proposal, an agent those that it handed in itself. `seen` is the change
    digest that the editor had before them; another one now is refused.
    """
    proposal = read(deps, proposal_id)
    permitted = ask(deps, actor, Action.EDIT, proposal)
    if isinstance(permitted, Denied):
        return permitted
    refused = _cannot_edit(deps, proposal, actor, seen)
    if refused is not None:
        return refused
    submission = _merged(proposal, wanted)
    check_texts(submission)
    base = _base(deps, proposal, wanted)
    if isinstance(base, Denied):
        return base
    diff = submission.diff.encode("utf-8")
    change = resolve_diff(deps, diff, base)
    if isinstance(change, Denied):
        return change
    ref = change_ref(base, diff, deps.policy.digest)
    edited = Edited(
        by=actor.id,
        title=one_line(clean(submission.title)),
        rationale=clean(submission.rationale.strip()),
        evidence=tuple(map(clean, submission.evidence)),
        change=ref,
        diff=submission.diff,
        files=change.touched_paths,
    )
    if edited.is_as(proposal):
        return proposal
    permitted = ask(deps, actor, Action.EDIT, proposal, paths=change.touched_paths)
    if isinstance(permitted, Denied):
        return permitted  # other files, and a policy on them
    refused = refuse_secrets(deps, change, ref, actor)
    if refused is not None:
        return refused
    with one_submission_at_a_time:
        known = known_diff(deps, ref.diff_digest, base, besides=proposal.id, despite=proposal.again_after)
        if isinstance(known, Denied):
            return known
        if known is not None:
            return Denied(
                code="duplicate-diff",
                reasons=(f"proposal {known.id} has the same diff, and is {known.state.value}",),
                hint="decide on that one",
            )
        outcome = transition(deps, proposal, edited, actor=actor, policies=permitted.policies)
    if isinstance(outcome, Proposal):
        drop_candidate(deps, outcome.id)
        deps.start.submitted(outcome.id, retry=True)
    return outcome


def _cannot_edit(deps: Deps, proposal: Proposal, actor: Actor, seen: Digest | None) -> Denied | None:
    refused = refusal(proposal, Edited)
    if refused is not None:
        return refused
    if seen is not None and seen != proposal.change.change_digest:
        return Denied(
            code="digest-changed",
            reasons=(f"you saw {short(seen)}, the proposal is now {short(proposal.change.change_digest)}",),
            hint="look at it again, then edit what you see",
        )
    if proposal.revision >= MAX_REVISIONS:
        return Denied(
            code="too-many-revisions",
            reasons=(f"proposal {proposal.id} was edited {proposal.revision - 1} times already",),
            hint="hand it in as a new proposal",
        )
    return queue_is_full(deps, actor)


def _merged(proposal: Proposal, wanted: Edit) -> Submission:
    return Submission(
        title=proposal.title if wanted.title is None else wanted.title,
        rationale=proposal.rationale if wanted.rationale is None else wanted.rationale,
        diff=proposal.diff if wanted.diff is None else wanted.diff,
        base_commit=wanted.base_commit,
        evidence=proposal.evidence if wanted.evidence is None else wanted.evidence,
    )


def _base(deps: Deps, proposal: Proposal, wanted: Edit) -> CommitId | Denied:
    if wanted.diff is None and not wanted.base_commit:
        return proposal.change.base_commit
    return base_commit(deps, wanted.base_commit)
