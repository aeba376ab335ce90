"""Watching an applied change until it is known to do well or harm."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from homeostat.core.ids import ProposalId
from homeostat.core.limits import MAX_TEXT_CHARS
from homeostat.flows import canarying
from homeostat.flows.bringing_in_line import bring_late_in_line, has_read
from homeostat.flows.deciding import check_reason
from homeostat.flows.deps import Deps
from homeostat.flows.detecting import LOOKS_BACK, ServiceLook, look_at_service, settled_since
from homeostat.flows.permitting import ask
from homeostat.flows.reverting import request_automatic_revert
from homeostat.flows.taking_out import TAKES_OUT, take_out
from homeostat.flows.transition import moved_since, must, read, read_all, transition
from homeostat.model.actor import SYSTEM, Actor
from homeostat.model.finding import Finding, FindingState
from homeostat.model.ledger import EntryDraft
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.restart import RestartPhase
from homeostat.model.verdict import Denied
from homeostat.model.vitals import VitalsTick
from homeostat.policy.authorization import Action
from homeostat.proposals.events import Accepted, ObservedWell, RestartSeen
from homeostat.proposals.lifecycle import refusal
from homeostat.rollout.arms import Arm, arm_of, serves, watched_time_s
from homeostat.rollout.attribution import Overlap, attribute, outside, overlaps_of, times_outside
from homeostat.rollout.detectors.heeding import heed_when_live
from homeostat.rollout.observation import Hold, Judgement, Symptom, Well, Worse, judge, judge_symptom
from homeostat.telemetry.redact import clean

WATCHED = frozenset({ProposalState.CANARY, ProposalState.OBSERVING, ProposalState.AWAITING_RESTART})
"""States in which the evidence after a change decides what becomes of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is known of an applied change now: both arms, the symptom, and the judgement."""

    baseline: Arm
    after: Arm
    symptom: Symptom | None
    elapsed_s: float
    window_s: float
    service: ServiceLook
    """What the detectors over the whole service say; the judgement heeds it."""

    judgement: Judgement
    first: Overlap | None = None
    """A later change that is taken back before this one, as nobody can tell which of both does harm."""

    taken_out_by: Proposal | None = None
    """A later change that took this one out, and is live: this one is judged no more."""


def observe(deps: Deps, proposal_id: ProposalId, *, renew: bool = True) -> Observation | None:
    """Look at one proposal after its application and act when it can be judged; idempotent.

    Called at every tick; with `renew`, which must come more often than leases end, a canary's are begun anew.
    None when there is nothing to watch (any more, or yet).
    """
    proposal = read(deps, proposal_id)
    if proposal.state is ProposalState.CANARY:
        canarying.watch(deps, proposal, renew=renew)
        return None
    if proposal.state is ProposalState.AWAITING_RESTART:
        _watch_for_restart(deps, proposal)
        return None
    if proposal.state is not ProposalState.OBSERVING:
        return None
    if _did_not_stay(deps, proposal):
        reason = "the restart command ended well, but the program did not stay: it failed, and no process of it is left"
        request_automatic_revert(deps, proposal.id, reason=reason)
        return None
    take_out(deps, proposal)
    seen = look(deps, proposal)
    if seen.taken_out_by is not None:
        take_out(deps, seen.taken_out_by)  # its time is over: whatever is seen now is not its doing
    elif seen.first is not None:
        reason = f"harm since proposal {proposal.id} and this one are live, and nobody can tell whose it is"
        told = f"{reason}: {seen.judgement.reason}"
        request_automatic_revert(deps, seen.first.change_id, reason=told, facts=seen.service.facts)
    elif isinstance(seen.judgement, Worse):
        request_automatic_revert(deps, proposal.id, reason=seen.judgement.reason, facts=seen.service.facts)
    elif isinstance(seen.judgement, Well):
        # The finding first: nobody looks at an implemented proposal again, so a crash in between would
        # leave its finding open for ever. This way round the next look finds the rest to do.
        _resolve_finding(deps, proposal)
        bring_late_in_line(deps, proposal)
        must(transition(deps, proposal, ObservedWell(reason=seen.judgement.reason), actor=SYSTEM))
    return seen


def accept(deps: Deps, proposal_id: ProposalId, *, actor: Actor, reason: str) -> Proposal | Denied:
    """Let a person call a held change well: the window is over, and the evidence does not decide.

    What does harm is taken back whoever likes it, and what is still watched is not cut short. The person
    vouches for the change: its finding is resolved only where the evidence shows its symptom gone or rarer.
    """
    check_reason(reason, decision="an acceptance")
    proposal = read(deps, proposal_id)
    permitted = ask(deps, actor, Action.ACCEPT, proposal, reason=reason)
    if isinstance(permitted, Denied):
        return permitted
    why = clean(reason.strip())[:MAX_TEXT_CHARS]
    if proposal.state is ProposalState.CANARY:
        return canarying.accept(deps, proposal, actor=actor, reason=why, policies=permitted.policies)
    refused = refusal(proposal, Accepted)
    if refused is not None:
        return refused
    seen = look(deps, proposal)
    judgement = seen.judgement
    if seen.taken_out_by is not None:
        taken_out = f"proposal {seen.taken_out_by.id} took it out, and is live"
        return Denied(code="not-held", reasons=(taken_out,), hint="what is seen now is that one's: look at it")
    if not isinstance(judgement, Hold):
        return Denied(
            code="not-held",
            reasons=(f"the evidence decides this by itself: {judgement.reason}",),
            hint="wait for the end of its window, or take it back with `homeostat revert`",
        )
    if seen.symptom is not None and judge_symptom(seen.symptom).confirmed:
        _resolve_finding(deps, proposal)
    accepted = Accepted(reason=why, doubt=judgement.reason)
    return transition(deps, proposal, accepted, actor=actor, policies=permitted.policies)


def look(deps: Deps, proposal: Proposal) -> Observation:
    """Judge the evidence so far, without acting on it."""
    application = proposal.application
    assert application is not None and application.observed_from is not None
    now = deps.clock.now()
    settings = deps.settings.observation
    start = application.observed_from
    # Applying began at `application.at`, so no tick that ended before has seen the change; ticks that
    # began before it was live belong to neither side.
    earliest = application.at - timedelta(seconds=settings.baseline_s)
    moved = moved_since(deps, earliest)
    baseline_start = max(earliest, settled_since(proposal, moved) or earliest)
    earlier = deps.vitals.ticks(since=earliest, until=application.at)
    before = [tick for tick in earlier if tick.start >= baseline_start]
    after = [tick for tick in deps.vitals.ticks(since=start, until=now) if tick.start >= start]
    # A host that served at any time is a service, also where that was under the code of another change.
    baseline_arm = replace(arm_of(before), serves=serves(arm_of(earlier)))
    overlaps = overlaps_of(proposal, moved, now=now)
    connected = any(process.connected for process in deps.live.processes())
    ended = [item for item in overlaps if item.until is not None]
    after = outside(after, ended)
    times = times_outside(start, now, ended)
    symptom = _symptom(deps, proposal, baseline_arm, arm_of(after), baseline_start=baseline_start, times=times)
    elapsed_s = (now - start).total_seconds()

    def judged(ticks: Sequence[VitalsTick]) -> Judgement:
        return judge(
            baseline=baseline_arm,
            after=arm_of(ticks),
            symptom=symptom,
            elapsed_s=elapsed_s,
            watched_s=watched_time_s(ticks),
            settings=settings,
            connected=connected,
        )

    whole = judged(after)
    found = attribute(whole, judged(outside(after, overlaps)) if overlaps else whole, overlaps)
    service = look_at_service(deps, proposal)
    judgement = heed_when_live(found.judgement, service.detections)
    return Observation(
        baseline=baseline_arm,
        after=arm_of(after),
        symptom=symptom,
        elapsed_s=elapsed_s,
        window_s=settings.window_s,
        service=service,
        judgement=judgement,
        # Harm that is shown to be its own is not excused by other harm that may be a later one's.
        first=None if isinstance(judgement, Worse) else found.first or service.first,
        taken_out_by=next((item for item in moved if item.takes_back == proposal.id and item.state in TAKES_OUT), None),
    )


def _symptom(
    deps: Deps,
    proposal: Proposal,
    baseline: Arm,
    after: Arm,
    *,
    baseline_start: datetime,
    times: Sequence[tuple[datetime, datetime]],
) -> Symptom | None:
    """Return how often the symptom occurred before, and in the `times` after: those of which `after` tells."""
    finding = _finding(deps, proposal)
    if finding is None or proposal.application is None:
        return None
    key = finding.group.key
    # Records arrive up to a second after the call they tell of; the second of a change is left out.
    # What is stamped later than now was left by a clock that was ahead, and is neither before nor after.
    now, late = deps.clock.now(), timedelta(seconds=1)
    after_count = sum(
        max(deps.findings.count_since(key, begins + late) - deps.findings.count_since(key, ends), 0)
        for begins, ends in ((begins, ends if ends < now else now + late) for begins, ends in times)
    )
    until = deps.findings.count_since(key, proposal.application.at)
    before_count = deps.findings.count_since(key, baseline_start) - until
    return Symptom(
        baseline_occurrences=max(before_count, 0),
        baseline=baseline,
        after_occurrences=after_count,
        after=after,
    )


def _finding(deps: Deps, proposal: Proposal) -> Finding | None:
    return deps.findings.get_finding(proposal.finding_id) if proposal.finding_id else None


def _resolve_finding(deps: Deps, proposal: Proposal) -> None:
    finding = _finding(deps, proposal)
    if finding is None or finding.state is FindingState.RESOLVED:
        return
    resolved = Finding(
        id=finding.id,
        state=FindingState.RESOLVED,
        title=finding.title,
        severity=finding.severity,
        group=finding.group,
        found_at=finding.found_at,
    )
    entry = EntryDraft(
        kind="finding.resolved", actor=SYSTEM.id, subject=finding.id, body={"proposal": proposal.id, "to": "resolved"}
    )
    deps.findings.put_findings([(resolved, entry)])


def _watch_for_restart(deps: Deps, proposal: Proposal) -> None:
    application = proposal.application
    assert application is not None
    if not deps.live.wait_until_gathered(timeout_s=0):
        return  # one that still runs the old code may not have dialled in yet
    # One whose connection is lost may run on, on the old code: it counts until it is known to be gone.
    listed = deps.live.processes()
    if application.restart_id and not _is_restarted(deps, application.restart_id):
        return  # one program may be new already while another is on trial: they go live together or not at all
    if application.restart_id and deps.settings.restart.command:
        # Nobody of ours saw the new processes through their first moments; a service that is started
        # again and again has only young ones.
        settled = deps.clock.now() - timedelta(seconds=deps.settings.restart.settle_s)
        if any(process.started_at > settled for process in listed):
            return
    on_disk_at = application.on_disk_at or application.at
    if listed and all(has_read(deps, proposal, process, on_disk_at) for process in listed):
        must(transition(deps, proposal, RestartSeen(), actor=SYSTEM))


def _did_not_stay(deps: Deps, proposal: Proposal) -> bool:
    """Tell whether soon after a restart command nothing is left of the program, and it had failed.

    A supervisor would have seen a process through until it is well. Here one may take longer to fail than
    it has to stay, so its time is as long as a supervisor would have waited for it. One that ended without an
    error was stopped by its owner for all that is known, who does not want it started again: that is held.
    """
    application, settings = proposal.application, deps.settings.restart
    assert application is not None and application.observed_from is not None
    if not application.restart_id or not settings.command or deps.live.processes():
        return False
    if not deps.live.wait_until_gathered(timeout_s=0):
        return False
    now, since, settle = deps.clock.now(), application.observed_from, timedelta(seconds=settings.settle_s)
    heard_of = max(since, deps.vitals.latest() or since)  # between two processes there may be a moment without
    if not heard_of + settle < now <= since + timedelta(seconds=settings.timeout_s) + settle:
        return False
    seen = arm_of(deps.vitals.ticks(since=since, until=now))
    return seen.errors > 0 or seen.error_seconds > 0


def last_evidence(deps: Deps) -> datetime | None:
    """Return how far the hub's time had come, as the rows that are watched and their evidence show; None: nothing is.

    A hub that starts on a clock that was set back goes on from there; where nothing is watched it may go back.
    """
    times = [proposal.updated_at for proposal in read_all(deps.proposals, states=WATCHED)]
    latest = deps.vitals.latest() if times else None
    return max([*times, *([latest] if latest is not None else [])], default=None)


def _is_restarted(deps: Deps, request_id: str) -> bool:
    """Tell whether no program is on trial in this restart, or has failed in it."""
    reports = (program.report for program in deps.restarter.programs())
    return all(report.phase is RestartPhase.DONE for report in reports if report and report.request_id == request_id)


def oldest_vitals_needed(deps: Deps) -> datetime | None:
    """Return from when on ticks are still evidence of a change that is being watched; None when none is."""
    applications = (proposal.application for proposal in read_all(deps.proposals, states=WATCHED))
    starts = [application.at for application in applications if application is not None]
    if not starts:
        return None
    return min(starts) - max(timedelta(seconds=deps.settings.observation.baseline_s), LOOKS_BACK)
