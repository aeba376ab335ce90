"""Restarting programs for changes that could not be swapped in, and taking back those that do not come up.

A restart is asked for once: ledger entry and rows first, then the supervisors, which carry it out by
themselves. `watch_restarts` looks at each beat what became of it, from the rows and the supervisors'
reports alone, so a hub that ends in the middle goes on where it is when it is there again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from homeostat.core.canonical_json import JsonValue
from homeostat.core.errors import Conflict, HomeostatError, NotFound, Unavailable
from homeostat.core.ids import ProposalId
from homeostat.flows.deps import Deps
from homeostat.flows.permitting import ask
from homeostat.flows.restart_back import plan_of, restart_back
from homeostat.flows.reverting import request_automatic_revert
from homeostat.flows.transition import must, read, read_all, transition
from homeostat.model.actor import SYSTEM, Actor
from homeostat.model.ledger import EntryDraft
from homeostat.model.proposal import REVERT_WAITS, Proposal, ProposalState
from homeostat.model.restart import RestartableProgram, RestartPhase, RestartReport
from homeostat.model.verdict import Denied
from homeostat.policy.authorization import Action
from homeostat.proposals.events import RestartAsked

_WAITING = frozenset({ProposalState.AWAITING_RESTART})
_GOING_BACK = frozenset({ProposalState.REVERTING})
_LAST_LINES = 3
_MAX_REASON_CHARS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRestart:
    """A restart that was asked for."""

    request_id: str
    programs: tuple[RestartableProgram, ...]
    proposals: tuple[ProposalId, ...]
    """The changes that wait for it; they are taken back when it fails."""


def request_restart(deps: Deps, *, actor: Actor, proposal_id: ProposalId | None = None) -> AskedRestart | Denied:
    """Restart every program. Asked again while it is under way, it is the same restart.

    `proposal_id` is a change that must be waiting for it. `NotFound` (``nothing-to-restart``) when
    nobody here can restart anything.
    """
    permitted = ask(deps, actor, Action.RESTART)
    if isinstance(permitted, Denied):
        return permitted
    programs = tuple(deps.restarter.programs())
    if not programs:
        raise NotFound(
            "nothing-to-restart",
            "no program here is supervised, and no restart command is configured",
            hint="start it with `homeostat up -- COMMAND` or `homeostat run --supervise -- COMMAND`, "
            "or set restart.command; until then restart it by hand",
        )
    waiting = read_all(deps.proposals, states=_WAITING)
    if proposal_id is not None and proposal_id not in {item.id for item in waiting}:
        found = read(deps, proposal_id)
        if found.state is not ProposalState.REVERTING:
            return Denied(
                code="no-restart-needed",
                reasons=(f"proposal {found.id} is {found.state.value}: it does not wait for a restart",),
            )
    under_way = _under_way(programs)
    if under_way is not None:
        asked = tuple(item.id for item in waiting if _request_of(item) == under_way)
        return AskedRestart(request_id=under_way, programs=programs, proposals=asked)
    request_id = deps.ids.new_uuid()
    _ask(deps, request_id, programs, waiting, actor=actor, policies=permitted.policies)
    return AskedRestart(
        request_id=request_id,
        programs=tuple(deps.restarter.programs()),
        proposals=tuple(item.id for item in waiting),
    )


def restart_for_saves(deps: Deps) -> bool:
    """Restart every program because what a person saved cannot be swapped in; False where nobody here can.

    Only where the settings say so (`restart.automatic`). A restart that is under way is left to end.
    """
    programs = tuple(deps.restarter.programs())
    if not deps.settings.restart.automatic or not programs:
        return False
    if _under_way(programs) is None:
        waiting = [item for item in read_all(deps.proposals, states=_WAITING) if not _request_of(item)]
        _ask(deps, deps.ids.new_uuid(), programs, waiting, actor=SYSTEM)
    return True


def watch_restarts(deps: Deps, *, look_anyway: bool) -> None:
    """Take every restart a step on; idempotent. Without a change that waits, only when `look_anyway`."""
    waiting = read_all(deps.proposals, states=_WAITING)
    taken_back = [item for item in read_all(deps.proposals, states=_GOING_BACK) if _waits_for_processes(item)]
    if not waiting and not taken_back and not look_anyway:
        return
    programs = deps.restarter.programs()
    _record(deps, programs)
    troubles = []
    for request_id in {_request_of(item) for item in waiting} - {""}:
        mine = [item for item in waiting if _request_of(item) == request_id]
        troubles += _follow(deps, request_id, mine, programs)
    unasked = [item for item in waiting if not _request_of(item)]
    if deps.settings.restart.automatic and unasked and programs and _under_way(programs) is None:
        _ask(deps, deps.ids.new_uuid(), programs, unasked, actor=SYSTEM)
    for item in taken_back:
        restart_back(deps, item, processes_left=True)
    if troubles:
        raise Unavailable("not-restarted", "; ".join(troubles))


def _ask(
    deps: Deps,
    request_id: str,
    programs: Sequence[RestartableProgram],
    waiting: Sequence[Proposal],
    *,
    actor: Actor,
    policies: Sequence[str] = (),
) -> None:
    # Journal before anything happens: what is asked is on record, and recovery begins what a crash left out.
    body: dict[str, JsonValue] = {
        "programs": [item.id for item in programs],
        "proposals": [str(item.id) for item in waiting],
        **({"policies": list(policies)} if policies else {}),
    }
    deps.ledger.append(EntryDraft(kind="restart.asked", actor=actor.id, subject=request_id, body=body))
    for item in waiting:
        must(transition(deps, item, RestartAsked(request_id=request_id), actor=actor, policies=policies))
    for program in programs:
        try:
            deps.restarter.begin(program.id, request_id, plan_of(deps))
        except HomeostatError:
            if not waiting:  # else the next beat tries again
                raise


def _follow(
    deps: Deps, request_id: str, proposals: Sequence[Proposal], programs: Sequence[RestartableProgram]
) -> list[str]:
    """See what became of one restart for these changes; return what is in the way."""
    failed = [item for item in programs if _is_of(item, request_id) and _phase(item) is RestartPhase.FAILED]
    if failed:
        _take_back(deps, proposals, _failure(failed))
        return []
    if not _runs_old_code(deps, proposals):
        return []
    troubles = []
    begun = [item for item in programs if _is_of(item, request_id)]
    for program in programs:
        if program not in begun and (program.report is None or program.report.phase.is_over):
            try:
                deps.restarter.begin(program.id, request_id, plan_of(deps))
            except (Conflict, NotFound) as error:
                troubles.append(error.message)
    done = bool(begun) and all(_phase(item) is RestartPhase.DONE for item in begun)
    if done and deps.settings.restart.command and _is_late(deps, proposals):
        _take_back(deps, proposals, "the restart command ended well, but the program did not come back as new")
    return troubles


def _take_back(deps: Deps, proposals: Sequence[Proposal], reason: str) -> None:
    newest_first = sorted(proposals, key=_applied_at, reverse=True)
    for proposal in newest_first:
        request_automatic_revert(deps, proposal.id, reason=reason)


def _record(deps: Deps, programs: Sequence[RestartableProgram]) -> None:
    """Write down how restarts ended, once each, however long their supervisors go on telling it."""
    for item in programs:
        report = item.report
        if report is None or not report.phase.is_over:
            continue
        about = deps.ledger.entries(subject=report.request_id)
        if any(entry.kind in _ENDS.values() and entry.body.get("program") == item.id for entry in about):
            continue
        entry = EntryDraft(
            kind=_ENDS[report.phase],
            actor=SYSTEM.id,
            subject=report.request_id,
            body={"program": item.id, "took_ms": int(report.took_s * 1000)},
        )
        deps.ledger.append(entry)


_ENDS = {RestartPhase.DONE: "restart.done", RestartPhase.FAILED: "restart.failed"}


def _runs_old_code(deps: Deps, proposals: Sequence[Proposal]) -> bool:
    """Tell whether a process is listed, or nothing runs, so that the restart has still to be made."""
    listed = deps.live.processes()
    latest = max(map(_applied_at, proposals))
    return not listed or any(process.started_at <= latest for process in listed)


def _is_late(deps: Deps, proposals: Sequence[Proposal]) -> bool:
    asked = [item.application.restart_asked_at for item in proposals if item.application is not None]
    limit = timedelta(seconds=deps.settings.restart.timeout_s)
    return any(at is not None and deps.clock.now() > at + limit for at in asked)


def _under_way(programs: Sequence[RestartableProgram]) -> str | None:
    for program in programs:
        if program.report is not None and not program.report.phase.is_over:
            return program.report.request_id
    return None


def _waits_for_processes(proposal: Proposal) -> bool:
    """Tell whether a change that programs were restarted for is off the disk, and not out of the processes."""
    return bool(_request_of(proposal)) and proposal.state_reason.startswith(REVERT_WAITS)


def _applied_at(proposal: Proposal) -> datetime:
    assert proposal.application is not None
    return proposal.application.at


def _request_of(proposal: Proposal) -> str:
    return proposal.application.restart_id if proposal.application is not None else ""


def _is_of(program: RestartableProgram, request_id: str) -> bool:
    return program.report is not None and program.report.request_id == request_id


def _phase(program: RestartableProgram) -> RestartPhase | None:
    return program.report.phase if program.report is not None else None


def _failure(failed: Sequence[RestartableProgram]) -> str:
    """Say on one line why a restart failed: it becomes part of a commit message."""
    reports = [item.report for item in failed if item.report is not None]
    words = "; ".join(_words(report) for report in reports)
    return f"the restart failed: {words}"[:_MAX_REASON_CHARS]


def _words(report: RestartReport) -> str:
    lines = [" ".join(line.split()) for line in report.last_words.splitlines() if line.strip()]
    said = " | ".join(lines[-_LAST_LINES:])
    return f"{report.reason} ({said})" if said else report.reason
