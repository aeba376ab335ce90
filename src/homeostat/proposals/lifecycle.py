"""The life of a proposal: which event may happen in which state, and what it makes of the row.

`step` is the only way a proposal changes state. An event that the state does not allow is refused
as a value; the caller re-reads the row and decides again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from homeostat.audit.evidence import EVIDENCE_DIGEST, EVIDENCE_KEY
from homeostat.core.canonical_json import JsonValue
from homeostat.core.digests import digest_bytes
from homeostat.model.canary import CanaryStage
from homeostat.model.proof import ProofReport, ProofVerdict
from homeostat.model.proposal import FIRST_TITLE, Application, Proposal, ProposalState
from homeostat.model.verdict import Denied
from homeostat.proposals.events import (
    Accepted,
    ApplicationEvent,
    ApplyAsked,
    ApplyFailed,
    ApplyStarted,
    Approved,
    CanaryEnded,
    CanaryEvent,
    CanaryPassed,
    CanaryStarted,
    CanaryWidened,
    Deferred,
    Edited,
    Event,
    ObservedWell,
    Proved,
    PutBackIn,
    Rejected,
    RestartAsked,
    RestartEvent,
    RestartNeeded,
    RestartSeen,
    Restored,
    Resumed,
    RevertAborted,
    Reverted,
    RevertEvent,
    RevertReplanned,
    RevertStarted,
    RevertWaits,
    TakenOut,
    ValidationStarted,
    WentLive,
)

S = ProposalState


ALLOWED_FROM: Mapping[type, frozenset[ProposalState]] = {
    ValidationStarted: frozenset({S.PENDING}),
    Proved: frozenset({S.VALIDATING}),
    Approved: frozenset({S.AWAITING_APPROVAL}),
    ApplyAsked: frozenset({S.APPROVED}),
    Rejected: frozenset({S.PENDING, S.AWAITING_APPROVAL, S.APPROVED, S.DEFERRED, S.BLOCKED}),
    Deferred: frozenset({S.PENDING, S.AWAITING_APPROVAL}),
    Resumed: frozenset({S.DEFERRED}),
    Edited: frozenset({S.PENDING, S.AWAITING_APPROVAL, S.APPROVED, S.DEFERRED, S.BLOCKED}),
    ApplyStarted: frozenset({S.APPROVED}),
    CanaryStarted: frozenset({S.APPLYING}),
    CanaryWidened: frozenset({S.CANARY}),
    CanaryPassed: frozenset({S.CANARY, S.APPLYING}),
    CanaryEnded: frozenset({S.CANARY}),
    WentLive: frozenset({S.APPLYING}),
    RestartNeeded: frozenset({S.APPLYING}),
    ApplyFailed: frozenset({S.APPROVED, S.APPLYING}),
    RestartAsked: frozenset({S.AWAITING_RESTART}),
    RestartSeen: frozenset({S.AWAITING_RESTART}),
    ObservedWell: frozenset({S.OBSERVING}),
    Accepted: frozenset({S.OBSERVING}),
    RevertStarted: frozenset({S.OBSERVING, S.AWAITING_RESTART, S.IMPLEMENTED, S.FAILED}),
    RevertReplanned: frozenset({S.REVERTING}),
    RevertWaits: frozenset({S.REVERTING}),
    Reverted: frozenset({S.REVERTING}),
    RevertAborted: frozenset({S.REVERTING}),
    TakenOut: frozenset({S.OBSERVING, S.AWAITING_RESTART, S.IMPLEMENTED}),
    PutBackIn: frozenset({S.REVERTED}),
    Restored: frozenset(S),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What an event made of a proposal, and how the ledger calls it."""

    proposal: Proposal
    kind: str
    facts: Mapping[str, JsonValue]


def refusal(proposal: Proposal, kind: type[Event]) -> Denied | None:
    """Refuse an event of this kind where the proposal's state does not allow it."""
    if proposal.state in ALLOWED_FROM[kind]:
        return None
    return Denied(
        code="illegal-transition",
        reasons=(f"proposal {proposal.id} is {proposal.state.value}: {_verb(kind)} is not possible now",),
    )


def step(proposal: Proposal, event: Event, *, at: datetime) -> Step | Denied:
    """Apply one event. The row's `version` is left alone: the store counts it up when it saves."""
    refused = refusal(proposal, type(event))
    if refused is not None:
        return refused
    if isinstance(event, PutBackIn) and _application(proposal).taken_out_by != event.by:
        return Denied(code="illegal-transition", reasons=(f"proposal {proposal.id} was not taken out by {event.by}",))
    match event:
        case ValidationStarted():
            return _move(proposal, S.VALIDATING, "validating", at, "policy and tests are running")
        case Proved(report=report):
            return _proved(proposal, report, at)
        case Approved(review=review, apply_requested=apply_requested, forced=forced):
            moved = replace(proposal, review=review, apply_requested=apply_requested)
            note = f"{'without' if review.unreviewed else 'by'} a second pair of eyes"
            return _move(
                moved,
                S.APPROVED,
                "approved",
                at,
                note,
                facts={"change_seen": review.change_digest, "unreviewed": review.unreviewed, "forced": forced},
            )
        case ApplyAsked():
            return _move(replace(proposal, apply_requested=True), S.APPROVED, "apply_asked", at, "applying was asked")
        case Rejected(review=review):
            return _move(replace(proposal, review=review), S.REJECTED, "rejected", at, review.notes)
        case Deferred(review=review):
            why = review.notes or "no reason given"
            return _move(replace(proposal, review=review), S.DEFERRED, "deferred", at, why)
        case Resumed():
            return _move(replace(proposal, review=None, proof=None), S.PENDING, "resumed", at, "taken up again")
        case Edited():
            return _edited(proposal, event, at)
        case Restored():
            return _restored(proposal, event, at)
        case _:
            return _application_step(proposal, event, at)


def _application_step(proposal: Proposal, event: ApplicationEvent, at: datetime) -> Step:
    match event:
        case ApplyStarted(application=application):
            return _move(
                replace(proposal, application=application),
                S.APPLYING,
                "apply_started",
                at,
                f"as {application.commit[:12]}; snapshot {application.backup}",
                facts={"commit": application.commit, "before": application.before_commit, "backup": application.backup},
            )
        case WentLive(detail=detail, on_disk_at=on_disk_at):
            application = replace(
                _application(proposal), live=True, live_detail=detail, on_disk_at=on_disk_at, observed_from=at
            )
            return _move(
                replace(proposal, application=application),
                S.OBSERVING,
                "went_live",
                at,
                detail,
                facts=_hmr("applied", False),
            )
        case ApplyFailed(reason=reason, files_back_at=files_back_at):
            failed = replace(proposal, apply_requested=False)
            if failed.application is not None:
                failed = replace(failed, application=replace(failed.application, files_back_at=files_back_at))
            return _move(failed, S.FAILED, "apply_failed", at, reason)
        case CanaryStarted() | CanaryWidened() | CanaryPassed() | CanaryEnded():
            return _canary_step(proposal, event, at)
        case RestartNeeded() | RestartAsked() | RestartSeen():
            return _restart_step(proposal, event, at)
        case ObservedWell(reason=reason):
            return _move(proposal, S.IMPLEMENTED, "implemented", at, reason)
        case Accepted(reason=reason, doubt=doubt):
            note = f"accepted by a person: {reason} (held until then: {doubt})"
            return _move(proposal, S.IMPLEMENTED, "accepted", at, note, facts={"doubt": doubt})
        case _:
            return _revert_step(proposal, event, at)


def _canary_step(proposal: Proposal, event: CanaryEvent, at: datetime) -> Step:
    application = _application(proposal)
    facts: dict[str, JsonValue]
    match event:
        case CanaryStarted(percent=percent, detail=detail, shadowed=shadowed):
            stage = CanaryStage(began_at=at, percent=percent, shadowed=shadowed)
            application = replace(application, live=True, live_detail=detail)
            state, kind, note, facts = S.CANARY, "canary_started", detail, {"percent": percent}
            facts |= {"shadowed": list(shadowed)} if shadowed else {}
        case CanaryWidened(percent=percent, reason=reason):
            stage = _stage(application)
            stage = replace(stage, percent=percent, widened_at=(*stage.widened_at, at))
            note = f"{percent} % of the calls run it: {reason}"
            state, kind, facts = S.CANARY, "canary_widened", {"percent": percent}
        case CanaryPassed(reason=reason, doubt=doubt):
            stage = replace(_stage(application), passed_at=at)
            note = f"{reason} (held until then: {doubt})" if doubt else reason
            state, kind, facts = S.APPLYING, "canary_passed", {"doubt": doubt}
        case CanaryEnded(reason=reason, automatic=automatic, facts=seen):
            stage = _stage(application)
            application = replace(
                application,
                reverting_at=at,
                reverting_from=proposal.state,
                revert_reason=reason,
                automatic_revert=automatic,
            )
            note = f"taken back by itself: {reason}" if automatic else reason
            state, kind, facts = S.REVERTING, "canary_ended", {"automatic": automatic, **seen}
        case _:
            assert_never(event)
    moved = replace(proposal, application=replace(application, canary=stage))
    return _move(moved, state, kind, at, note, facts=facts)


def _stage(application: Application) -> CanaryStage:
    assert application.canary is not None, "only a canary has stages"
    return application.canary


def _restart_step(proposal: Proposal, event: RestartEvent, at: datetime) -> Step:
    match event:
        case RestartNeeded(detail=detail, on_disk_at=on_disk_at):
            application = replace(_application(proposal), live=False, live_detail=detail, on_disk_at=on_disk_at)
            moved = replace(proposal, application=application)
            facts = _hmr("not_available", True)
            return _move(moved, S.AWAITING_RESTART, "needs_restart", at, detail, facts=facts)
        case RestartAsked(request_id=request_id):
            application = replace(_application(proposal), restart_id=request_id, restart_asked_at=at)
            return _move(
                replace(proposal, application=application),
                S.AWAITING_RESTART,
                "restart_asked",
                at,
                f"a restart was asked for; it is needed because: {application.live_detail}",
                facts={"request": request_id},
            )
        case RestartSeen():
            application = replace(_application(proposal), observed_from=at)
            moved = replace(proposal, application=application)
            return _move(moved, S.OBSERVING, "restarted", at, "every process was started after the change")
        case _:
            assert_never(event)


def _revert_step(proposal: Proposal, event: RevertEvent, at: datetime) -> Step:
    match event:
        case RevertStarted(parent=parent, commit=commit, reason=reason, automatic=automatic, facts=seen):
            application = replace(
                _application(proposal),
                reverting_at=at,
                reverting_from=proposal.state,
                revert_parent=parent,
                revert_commit=commit,
                revert_reason=reason,
                automatic_revert=automatic,
            )
            return _move(
                replace(proposal, application=application),
                S.REVERTING,
                "revert_started",
                at,
                f"taken back by itself: {reason}" if automatic else reason,
                facts={"commit": commit, "parent": parent, "automatic": automatic, **seen},
            )
        case RevertReplanned(parent=parent, commit=commit):
            again = replace(_application(proposal), revert_parent=parent, revert_commit=commit)
            return _move(
                replace(proposal, application=again),
                S.REVERTING,
                "revert_replanned",
                at,
                f"{proposal.state_reason}; on {parent[:12]}, to which the branch has gone on",
                facts={"commit": commit, "parent": parent},
            )
        case RevertWaits(reason=reason, files_back_at=files_back_at):
            waiting = replace(_application(proposal), files_back_at=files_back_at)
            return _move(replace(proposal, application=waiting), S.REVERTING, "revert_waits", at, reason)
        case Reverted(detail=detail, files_back_at=files_back_at):
            back = replace(proposal, application=replace(_application(proposal), files_back_at=files_back_at))
            return _move(back, S.REVERTED, "reverted", at, f"{_application(proposal).revert_reason}; {detail}")
        case TakenOut() | PutBackIn():
            return _taken_out(proposal, event, at)
        case RevertAborted(reason=reason):
            application = _application(proposal)
            back_to = S.FAILED if application.automatic_revert else application.reverting_from or S.OBSERVING
            restored = replace(
                application,
                reverting_at=None,
                reverting_from=None,
                files_back_at=None,
                revert_parent=None,
                revert_commit=None,
            )
            return _move(
                replace(proposal, application=restored), back_to, "revert_aborted", at, f"revert not done: {reason}"
            )
        case _:
            assert_never(event)


def _taken_out(proposal: Proposal, event: TakenOut | PutBackIn, at: datetime) -> Step:
    application = _application(proposal)
    if isinstance(event, TakenOut):
        note = f"proposal {event.by} took it out of what was built upon it, and is live"
        state, kind = S.REVERTED, "taken_out"
        application = replace(
            application,
            taken_out_by=event.by,
            reverting_at=at,
            reverting_from=proposal.state,
            revert_reason=note,
        )
    else:
        note = f"proposal {event.by}, which had taken it out, was taken back"
        state, kind = application.reverting_from or S.OBSERVING, "put_back_in"
        application = replace(application, taken_out_by=None, reverting_at=None, reverting_from=None)
    return _move(replace(proposal, application=application), state, kind, at, note, facts={"by": event.by})


def _restored(proposal: Proposal, event: Restored, at: datetime) -> Step:
    review = event.review or proposal.review
    application = event.application or proposal.application
    settled = replace(proposal, review=review, application=application, apply_requested=False)
    facts: dict[str, JsonValue] = {}
    if event.review is not None:
        facts |= {"change_seen": event.review.change_digest, "unreviewed": True, "forced": False}
    elif application is not None:
        facts |= {"commit": application.commit, "revert_commit": application.revert_commit}
    # An approval is called one wherever it comes from: an audit looks for it by that name.
    kind = "approved" if event.review is not None else "restored"
    return _move(settled, event.state, kind, at, event.reason, facts=facts)


def _edited(proposal: Proposal, event: Edited, at: datetime) -> Step:
    provenance = dict(proposal.provenance)
    if event.title != proposal.title:
        provenance.setdefault(FIRST_TITLE, proposal.title)  # the record's file is named after it for good
    note = f"edited by {event.by}: revision {proposal.revision + 1}"
    takes_back = proposal.takes_back
    same = (proposal.change.diff_digest, proposal.change.base_commit)
    if takes_back is not None and (event.change.diff_digest, event.change.base_commit) != same:
        # What the hub made takes the other change out whole; what somebody made of it may not.
        note += f"; it does not count as taking back {takes_back} any more"
        takes_back = None
    revised = replace(
        proposal,
        revision=proposal.revision + 1,
        title=event.title,
        rationale=event.rationale,
        evidence=event.evidence,
        change=event.change,
        diff=event.diff,
        files=event.files,
        editors=tuple(dict.fromkeys((*proposal.editors, event.by))),
        takes_back=takes_back,
        provenance=provenance,
        proof=None,
        review=None,
        apply_requested=False,
    )
    return _move(
        revised,
        S.PENDING,
        "edited",
        at,
        note,
        facts={"revision": revised.revision, "base_commit": event.change.base_commit},
    )


def _proved(proposal: Proposal, report: ProofReport, at: datetime) -> Step:
    proved = replace(proposal, proof=report)
    reason = "; ".join(report.reasons) or report.verdict.value
    facts: dict[str, JsonValue] = {"verdict": report.verdict.value, "sandbox": report.sandbox}
    if report.evidence:
        facts |= {EVIDENCE_DIGEST: digest_bytes(report.evidence.encode("utf-8")), EVIDENCE_KEY: report.evidence_key}
    # INVARIANT: only a PASSED proof opens the way to an approval; no evidence is never a pass.
    if report.verdict is ProofVerdict.PASSED:
        return _move(proved, S.AWAITING_APPROVAL, "validated", at, reason, facts=facts)
    return _move(proved, S.BLOCKED, "blocked", at, f"{report.verdict.value}: {reason}", facts=facts)


def _move(
    proposal: Proposal,
    state: ProposalState,
    kind: str,
    at: datetime,
    reason: str,
    *,
    facts: Mapping[str, JsonValue] | None = None,
) -> Step:
    # Wherever a reason is shown its state stands before it, so it does not name that again.
    line = f"{at.isoformat(timespec='milliseconds')} {state.value}: {reason}"
    moved = replace(proposal, state=state, state_reason=reason, updated_at=at, log=(*proposal.log, line))
    body: dict[str, JsonValue] = {
        "from": proposal.state.value,
        "to": state.value,
        "version": proposal.version + 1,
        "change_digest": proposal.change.change_digest,
        "diff_digest": proposal.change.diff_digest,
        **(facts or {}),
    }
    return Step(proposal=moved, kind=f"proposal.{kind}", facts=body)


def _hmr(status: str, restart_required: bool) -> dict[str, JsonValue]:
    """Return what the source document wants on record of every application."""
    return {"hmr": status, "restart_required": restart_required}


def _application(proposal: Proposal) -> Application:
    assert proposal.application is not None, "states after applying always have their application"
    return proposal.application


def _verb(kind: type[Event]) -> str:
    name = kind.__name__
    return "".join(f" {char.lower()}" if char.isupper() else char for char in name).strip()
