"""Trying a change on a share of the calls, before branch and files are touched.

The old code stays on disk meanwhile: whatever starts, ends or crashes runs it. Each process routes by itself
and gives all calls back when its lease ends, so that a hub that died leaves nothing to be undone. The row says how
far it has come (`CanaryStage`); `watch` reads it, keeps the leases, and acts on what the judge says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from homeostat.core.canonical_json import JsonValue
from homeostat.core.errors import Unavailable
from homeostat.core.ids import ProcessId
from homeostat.flows.bringing_in_line import bring_back, is_gone, live_change
from homeostat.flows.deps import Deps
from homeostat.flows.detecting import ServiceLook, look_at_service
from homeostat.flows.transition import must, read, transition
from homeostat.model.actor import SYSTEM, Actor
from homeostat.model.canary import Share
from homeostat.model.change import TreeChange
from homeostat.model.process import HostProcess, LiveOutcome, LiveResult
from homeostat.model.proposal import Proposal, ProposalState
from homeostat.model.verdict import Denied
from homeostat.ports.live import LiveChange
from homeostat.proposals.events import CanaryEnded, CanaryPassed, CanaryStarted, CanaryWidened, Reverted, RevertWaits
from homeostat.rollout.canary import CanaryVerdict
from homeostat.rollout.canary.arms import Tally
from homeostat.rollout.course import Ask, Course, GiveBack, Pass, Widen, plan_after_shadow, plan_course
from homeostat.rollout.detectors.heeding import heed_in_canary
from homeostat.rollout.live import plan_change
from homeostat.rollout.shadow import ShadowTally, plan_shadow

_NOT_TRIED = "not tried on a share of the calls first"
_ROUTES_OR_LATER = frozenset({LiveOutcome.SWAPPED, LiveOutcome.UNREACHABLE})

_RENEWED_WITHIN_S = 1.0
_BEGUN_WITHIN_S = 2.0
"""How long one process is waited for at a beat. One that takes longer is asked again; what it did, it says later."""

_ON_ITS_WAY = timedelta(seconds=_BEGUN_WITHIN_S)
"""How late a command may still be carried out that was sent before the canary ended: then it is out of date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryLook:
    """What is known of a canary now."""

    control: Tally
    canary: Tally
    shadow: ShadowTally
    verdict: CanaryVerdict
    service: ServiceLook
    course: Course


def begin(deps: Deps, proposal: Proposal, change: TreeChange) -> Proposal:
    """Let the first share of the calls of every process run the change, or note why it goes live at once.

    Idempotent: a process that routes already is asked once more for the same.
    """
    assert proposal.application is not None and proposal.application.canary is not None
    settings = deps.settings.canary
    shadowed = (
        plan_shadow(change, plan_change(change, mode=deps.settings.hmr.mode), settings).functions
        if settings.steps
        else ()
    )
    percent = settings.steps[0] if settings.steps and not shadowed else 0
    obstacle = _begin_everywhere(deps, proposal, change, percent, shadowed)
    if obstacle:
        return must(transition(deps, proposal, CanaryPassed(reason=f"{_NOT_TRIED}: {obstacle}"), actor=SYSTEM))
    how = (
        f"{percent} % of the calls run it" if percent else f"{', '.join(shadowed)}: it runs on copies of the arguments"
    )
    detail = f"{how}; branch and files are as before"
    started = CanaryStarted(percent=percent, detail=detail, shadowed=shadowed)
    return must(transition(deps, proposal, started, actor=SYSTEM))


def watch(deps: Deps, proposal: Proposal, *, renew: bool) -> CanaryLook:
    """Look at a canary, and do what follows; idempotent.

    Harm ends before any process is asked for anything else: one that hangs would hold it up. Processes that do not
    route it (they started since, or their lease ran out) are asked to; with `renew` all are.
    """
    seen = look(deps, proposal)
    match seen.course:
        case GiveBack(reason=reason):
            end(deps, proposal, actor=SYSTEM, reason=reason, automatic=True, facts=seen.service.facts)
        case Pass(reason=reason):
            pass_on(deps, proposal, CanaryPassed(reason=reason), actor=SYSTEM)
        case Widen(percent=percent, reason=reason):
            proposal = must(transition(deps, proposal, CanaryWidened(percent=percent, reason=reason), actor=SYSTEM))
            _keep_routing(deps, proposal, renew=True)
        case _:
            _keep_routing(deps, proposal, renew=renew)
    return seen


def look(deps: Deps, proposal: Proposal) -> CanaryLook:
    """Judge what both arms have counted so far, and how the service fares, without acting on it."""
    assert proposal.application is not None and proposal.application.canary is not None
    stage, settings = proposal.application.canary, deps.settings.canary
    judging = deps.judgings.of(proposal.id, deps.canaries, settings)
    verdict = judging.verdict
    service = look_at_service(deps, proposal)
    shadow, now = judging.shadow, deps.clock.now()
    if stage.is_shadow:
        course = plan_after_shadow(stage, shadow, now=now, settings=settings)
    else:
        course = plan_course(stage, verdict, now=now, settings=settings)
    return CanaryLook(
        control=judging.control,
        canary=judging.canary,
        shadow=shadow,
        verdict=verdict,
        service=service,
        course=heed_in_canary(course, service.detections),
    )


def accept(deps: Deps, proposal: Proposal, *, actor: Actor, reason: str, policies: Sequence[str]) -> Proposal | Denied:
    """Let all calls run a canary that the evidence leaves undecided, on a person's word.

    What was found on copies of the arguments says nothing of latency and load: then the first share follows.
    """
    assert proposal.application is not None and proposal.application.canary is not None
    course = look(deps, proposal).course
    if not isinstance(course, Ask):
        return Denied(
            code="not-held",
            reasons=(f"the evidence decides this by itself: {course.reason}",),
            hint="wait for more calls, or take it back with `homeostat revert`",
        )
    if proposal.application.canary.is_shadow and deps.settings.canary.steps:
        told = f"{reason} (held until then: {course.reason})"
        widened = CanaryWidened(percent=deps.settings.canary.steps[0], reason=told)
        return transition(deps, proposal, widened, actor=actor, policies=policies)
    passed = CanaryPassed(reason=reason, doubt=course.reason)
    return pass_on(deps, proposal, passed, actor=actor, policies=policies)


def pass_on(
    deps: Deps, proposal: Proposal, event: CanaryPassed, *, actor: Actor, policies: Sequence[str] = ()
) -> Proposal | Denied:
    """Let the change go the way of every other one: branch, files, all calls of every process."""
    outcome = transition(deps, proposal, event, actor=actor, policies=policies)
    if isinstance(outcome, Proposal):
        deps.start.apply_asked(outcome.id)
    return outcome


def end(
    deps: Deps,
    proposal: Proposal,
    *,
    actor: Actor,
    reason: str,
    automatic: bool,
    facts: Mapping[str, JsonValue] | None = None,
    policies: Sequence[str] = (),
) -> Proposal | Denied:
    """Journal that a canary is taken back, with what a detector saw, and start it."""
    ended = CanaryEnded(reason=reason, automatic=automatic, facts=facts or {})
    return transition(deps, proposal, ended, actor=actor, policies=policies, at_once=deps.start.revert_asked)


def give_back(deps: Deps, proposal: Proposal, change: TreeChange) -> None:
    """Carry a canary that is being taken back to its end; idempotent. Branch and files never had it."""
    application = proposal.application
    assert application is not None
    asking = deps.routing.under_way(proposal.id)
    # INVARIANT: nobody can have read the change from the disk, so to forget its routes is all that is asked.
    still = bring_back(deps, proposal, change.inverse(), files_back_at=application.at, was_on_disk=False)
    still += _out_of_sight(deps, proposal)
    if asking:
        still.append("one was being asked to route it just now")
    if still:
        reason = f"branch and files never had it; waiting for running processes: {'; '.join(still)}"
        if reason != proposal.state_reason:
            waits = RevertWaits(reason=reason, files_back_at=application.at)
            must(transition(deps, proposal, waits, actor=SYSTEM))
        return
    detail = "every call runs the old code again; branch and files never had the change"
    must(transition(deps, proposal, Reverted(detail=detail, files_back_at=application.at), actor=SYSTEM))


def _out_of_sight(deps: Deps, proposal: Proposal) -> list[str]:
    """Say which processes may still route a canary that is being taken back, though they are not attached any more.

    They could not be reached, and are not known to have ended: what they route ends with their lease.
    """
    application = proposal.application
    assert application is not None and application.reverting_at is not None
    lease = timedelta(seconds=deps.settings.canary.lease_s) + _ON_ITS_WAY
    ends_at = application.reverting_at + lease
    if deps.clock.now() >= ends_at:
        return []
    routed = {*application.processes, *deps.judgings.of(proposal.id, deps.canaries, deps.settings.canary).processes}
    missing = routed - {process.id for process in deps.live.processes()}
    lost = sorted(item for item in missing if not is_gone(deps, ProcessId(item)))
    return [f"process {item[:8]} is out of sight; its lease ends at {ends_at:%H:%M:%S}" for item in lost]


def _begin_everywhere(
    deps: Deps, proposal: Proposal, change: TreeChange, percent: int, shadowed: tuple[str, ...]
) -> str:
    """Ask every process to route the change; return why that cannot be, after all have given back."""
    plan = plan_change(change, mode=deps.settings.hmr.mode)
    if not (percent or shadowed) or not plan.needs_live or plan.restart_reasons or not deps.settings.hmr.enabled:
        return "; ".join(plan.restart_reasons) or "no running process would take it now"
    wanted = live_change(proposal.id, change, mode=deps.settings.hmr.mode)
    asked: list[ProcessId] = []
    routing = False
    while True:
        waiting = [item for item in deps.live.processes() if item.id not in asked]
        if not waiting:
            break
        for process in waiting:
            asked.append(process.id)
            share = _share(deps, percent, shadowed)
            result = _route(deps, process, wanted, share, within_s=deps.settings.hmr.timeout_s)
            routing |= result.outcome is LiveOutcome.SWAPPED
            # One that does not answer runs the old code, as one that starts later: it is asked again at each beat.
            if result.outcome not in _ROUTES_OR_LATER:
                for process_id in asked:
                    deps.live.rollback(process_id, proposal.id, timeout_s=deps.settings.hmr.timeout_s)
                return f"process {process.pid}: {result.detail}"
    if asked and not routing:
        # INVARIANT: silence never lets a change by its trial.
        raise Unavailable("processes-unreachable", f"none of {len(asked)} running processes answers")
    return "" if asked else "no running process is attached"


def _keep_routing(deps: Deps, proposal: Proposal, *, renew: bool) -> None:
    """See that every process routes this change at the present share; where one never will, take it back."""
    assert proposal.application is not None and proposal.application.canary is not None
    stage = proposal.application.canary
    share = _share(deps, stage.percent, stage.shadowed if stage.is_shadow else ())
    wanted: LiveChange | None = None
    # Those that route it come first: their leases shall not run out while others do not answer.
    for process in sorted(deps.live.processes(), key=lambda item: proposal.id not in item.changes):
        routes = proposal.id in process.changes
        if not process.connected or (routes and not renew):
            continue
        if wanted is None:
            change = deps.backups.load(proposal.application.backup)
            wanted = live_change(proposal.id, change, mode=deps.settings.hmr.mode)
        within_s = _RENEWED_WITHIN_S if routes else _BEGUN_WITHIN_S
        with deps.routing.asking(proposal.id):
            if read(deps, proposal.id).state is not ProposalState.CANARY:
                return  # somebody took it back, or passed it on, while others were asked
            result = _route(deps, process, wanted, share, within_s=within_s)
        # One that does not answer gives back by itself when its lease ends, and is asked again when it is there.
        if result.outcome not in _ROUTES_OR_LATER:
            reason = f"it cannot be tried everywhere: process {process.pid}: {result.detail}"
            end(deps, proposal, actor=SYSTEM, reason=reason, automatic=True)
            return


def _share(deps: Deps, percent: int, shadowed: tuple[str, ...]) -> Share:
    settings = deps.settings.canary
    return Share(percent=percent, key=settings.key, lease_s=settings.lease_s, shadowed=shadowed)


def _route(deps: Deps, process: HostProcess, wanted: LiveChange, share: Share, *, within_s: float) -> LiveResult:
    return deps.live.swap(process.id, wanted, share=share, timeout_s=min(within_s, deps.settings.hmr.timeout_s))
