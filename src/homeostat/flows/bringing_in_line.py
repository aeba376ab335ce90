"""Bringing processes to the code that stands: back when a change is taken back, and late ones whenever they turn up."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from homeostat.core.errors import HomeostatError, Unavailable
from homeostat.core.ids import ProcessId
from homeostat.flows.deps import Deps
from homeostat.flows.transition import moved_since
from homeostat.model.change import TreeChange
from homeostat.model.process import HostProcess, LiveOutcome, LiveResult, RunningSource
from homeostat.model.proposal import MOVES_TREE, MUST_RESTART, Proposal, ProposalState
from homeostat.ports.live import LiveChange, ModuleChange
from homeostat.rollout.live import module_sources, plan_change, read_at_start

_TAKEN_BACK = frozenset({ProposalState.REVERTED, ProposalState.FAILED})
_IN_FORCE = frozenset({ProposalState.OBSERVING, ProposalState.IMPLEMENTED})
_WITHOUT_CHANGE = frozenset({RunningSource.OLD, RunningSource.NOT_LOADED})
_RECENT = timedelta(hours=1)
_NAMED = 5
_AT_ONCE_S = 1.0
"""How long one process is waited for while others still run a change that is taken back."""


def live_change(change_id: str, change: TreeChange, *, mode: str) -> LiveChange:
    """Return the command that carries a change to a process; only for a plan without restart reasons."""
    modules = (ModuleChange(path=path, old_source=old, new_source=new) for path, old, new in module_sources(change))
    return LiveChange(id=change_id, modules=tuple(modules), mode=mode)


def bring_back(
    deps: Deps,
    proposal: Proposal,
    back: TreeChange,
    *,
    files_back_at: datetime | None = None,
    was_on_disk: bool = True,
) -> list[str]:
    """Bring every process back to the old code; return in words which ones are not seen to be there.

    `files_back_at`: when the files were seen to be back, once they are. From then on nobody can read the
    change any more, and every connected process is asked what it runs: one that had nothing loaded when
    the others were changed may have read the change since, whenever it was started. What never was on disk
    nobody has read: then each is asked to take it out, by its id, which is quick where there is nothing of it.
    """
    answered = take_out_at_once(deps, proposal)
    unfinished: list[str] = []
    seen: set[ProcessId] = set()
    settled = files_back_at is not None and bool(module_sources(back))
    while True:
        listed = [process for process in deps.live.processes() if process.id not in seen]
        if not listed:
            return unfinished
        seen |= {process.id for process in listed}
        to_look_at: list[HostProcess] = []
        for process in listed:
            took = proposal.id in process.changes
            suspect = not took and _may_have_read(process, proposal, files_back_at)
            if not process.connected:
                if settled or suspect or took:
                    unfinished.append(f"process {process.pid} does not answer")
                continue
            answer = answered.get(process.id)
            problem: list[str] = []
            if answer is not None and (answer.outcome is not LiveOutcome.SWAPPED or not was_on_disk):
                problem = _problem(process, answer)
            elif took or suspect or not was_on_disk:
                problem = _take_out(deps, process, proposal, back, read_from_disk=was_on_disk)
            unfinished += problem
            # What was taken out by its id may have been read again from the disk, before the files were back.
            if settled and was_on_disk and not problem and not suspect:
                to_look_at.append(process)
        # Harm ends everywhere before anything is looked at, which takes longer.
        for process in to_look_at:
            unfinished += _see_it_gone(deps, process, proposal, back)


def take_out_at_once(deps: Deps, proposal: Proposal) -> dict[ProcessId, LiveResult]:
    """Ask all that have the change to put it back, and wait for none: harm ends though one of them hangs.

    Return what those said that answered.
    """
    timeout_s = min(_AT_ONCE_S, deps.settings.hmr.timeout_s)
    having = [item for item in deps.live.processes() if item.connected and proposal.id in item.changes]
    answers = {item.id: deps.live.rollback(item.id, proposal.id, timeout_s=timeout_s) for item in having}
    return {key: answer for key, answer in answers.items() if answer.outcome is not LiveOutcome.UNREACHABLE}


def is_gone(deps: Deps, process_id: ProcessId) -> bool:
    """Tell whether a process that is not listed is known to have ended; one that hangs may be off the list, too."""
    return deps.live.wait_until_connected([process_id], timeout_s=0)


def _take_out(
    deps: Deps, process: HostProcess, proposal: Proposal, back: TreeChange, *, read_from_disk: bool = True
) -> list[str]:
    """Put the old code into a process that took the change, or may have read it; say what is left to do."""
    timeout_s = deps.settings.hmr.timeout_s
    if proposal.id in process.changes or not read_from_disk:
        return _problem(process, deps.live.rollback(process.id, proposal.id, timeout_s=timeout_s))
    kept = read_at_start(back)
    if kept:
        return [f"process {process.pid} was started with the change of {', '.join(kept)} and {MUST_RESTART}"]
    # It read the change from the disk: swap the old code in, as a change of its own.
    reverse = live_change(f"{proposal.id}:revert", back, mode=deps.settings.hmr.mode)
    problem = _problem(process, deps.live.swap(process.id, reverse, timeout_s=timeout_s))
    if problem and _ask(deps, process, proposal, back).runs in _WITHOUT_CHANGE:
        return []
    return problem


def _see_it_gone(deps: Deps, process: HostProcess, proposal: Proposal, back: TreeChange) -> list[str]:
    """Ask a process what it runs; take out what it has read of the change; say what is left to do."""
    seen = _ask(deps, process, proposal, back)
    if seen.runs is RunningSource.CANARY:
        # It began since it was last heard of. Where the share is another change's, there is nothing to put back.
        return _problem(process, deps.live.rollback(process.id, proposal.id, timeout_s=deps.settings.hmr.timeout_s))
    if seen.runs is RunningSource.NEW:
        return _take_out(deps, replace(process, changes=()), proposal, back)
    if seen.runs is RunningSource.LOADING:
        return [f"process {process.pid} is just loading a file of the change"]
    return _problem(process, seen) if seen.outcome is LiveOutcome.UNREACHABLE else []


def _problem(process: HostProcess, result: LiveResult) -> list[str]:
    match result.outcome:
        case LiveOutcome.SWAPPED:
            return []
        case LiveOutcome.UNREACHABLE:
            return [f"process {process.pid} does not answer"]
        case _:
            return [f"process {process.pid} still runs the change and {MUST_RESTART} ({result.detail})"]


def _may_have_read(process: HostProcess, proposal: Proposal, files_back_at: datetime | None) -> bool:
    """Tell whether it was started while the change was on disk; one that swapped it says so itself.

    The journal's times are not the files': between the two the hub may have been dead for long.
    """
    assert proposal.application is not None
    started = process.started_at
    return proposal.application.at < started and (files_back_at is None or started < files_back_at)


def has_read(deps: Deps, proposal: Proposal, process: HostProcess, on_disk_at: datetime) -> bool:
    """Tell whether a process was started with a change that waits for it; one that may have read either is asked."""
    application = proposal.application
    if application is None or not process.connected or process.started_at <= application.at:
        return False
    if process.started_at > on_disk_at:
        return True
    try:
        change = deps.backups.load(application.backup)
    except HomeostatError:
        return False
    return _ask(deps, process, proposal, change.inverse()).runs is RunningSource.NEW


def _ask(deps: Deps, process: HostProcess, proposal: Proposal, back: TreeChange) -> LiveResult:
    """Ask the process which side of the change it runs (`LiveResult.runs`)."""
    forward = live_change(f"{proposal.id}:again", back.inverse(), mode=deps.settings.hmr.mode)
    return deps.live.prepare(process.id, forward, timeout_s=deps.settings.hmr.timeout_s)


def bring_strays_in_line(deps: Deps) -> None:
    """Bring processes that turn up late to the code that stands: back, or to a change that they missed.

    They were stopped, out of reach for longer than their lease, or just starting when everyone else was
    changed. Nothing is written down: what the rows say of all processes becomes true of these too.
    `Unavailable` (``process-out-of-line``) names those that cannot be exchanged, until they are restarted.
    """
    if deps.proposals.find(states=MOVES_TREE, limit=1):
        return  # what is on disk now may not be what stays
    since = deps.clock.now() - _RECENT
    left: list[str] = []
    for proposal in moved_since(deps, since):
        if proposal.state not in _TAKEN_BACK | _IN_FORCE:
            continue
        application = proposal.application
        settled_at = None
        if application is not None:
            settled_at = application.files_back_at if proposal.state in _TAKEN_BACK else application.on_disk_at
        if application is None or settled_at is None or settled_at < since:
            continue
        if proposal.state in _TAKEN_BACK:
            strays = [item for item in deps.live.processes() if _has(item, proposal, settled_at)]
        else:
            strays = [item for item in deps.live.processes() if application.live and _lacks(item, proposal, settled_at)]
        if strays:
            left += _bring_in_line(deps, proposal, settled_at, strays)
    if left:
        raise Unavailable("process-out-of-line", "; ".join(left[:_NAMED]), hint="restart the program")


def bring_late_in_line(deps: Deps, proposal: Proposal) -> None:
    """Let processes that are there again take a change in force that they missed: before it is called implemented.

    Who cannot take it is named by `bring_strays_in_line` and holds nothing up: the change was judged by the others.
    """
    application = proposal.application
    if application is None or not application.live or application.on_disk_at is None:
        return
    try:
        if deps.proposals.find(states=MOVES_TREE, limit=1):
            return  # what is on disk now may not be what stays
    except HomeostatError:
        return  # `bring_strays_in_line` meets the same, and says so
    strays = [item for item in deps.live.processes() if _lacks(item, proposal, application.on_disk_at)]
    if strays:
        _bring_in_line(deps, proposal, application.on_disk_at, strays)


def _has(process: HostProcess, proposal: Proposal, files_back_at: datetime) -> bool:
    return proposal.id in process.changes or _may_have_read(process, proposal, files_back_at)


def _lacks(process: HostProcess, proposal: Proposal, on_disk_at: datetime) -> bool:
    return process.connected and process.started_at < on_disk_at and proposal.id not in process.changes


def _bring_in_line(
    deps: Deps, proposal: Proposal, settled_at: datetime, strays: Sequence[HostProcess]
) -> Sequence[str]:
    assert proposal.application is not None
    try:
        change = deps.backups.load(proposal.application.backup)
        if proposal.state is ProposalState.REVERTED and not proposal.application.reached_branch:
            # Whatever is in the files, it never was this change: who has it was asked to, on a share of its calls.
            left = bring_back(deps, proposal, change.inverse(), files_back_at=settled_at, was_on_disk=False)
            return [f"proposal {proposal.id} is {proposal.state.value}, but {item}" for item in left]
        stands = change if proposal.state in _TAKEN_BACK else change.inverse()
        if deps.deployed.drift(stands):
            return ()  # somebody went on from there: what runs is theirs to decide
        if proposal.state in _TAKEN_BACK:
            left = bring_back(deps, proposal, change.inverse(), files_back_at=settled_at)
        else:
            left = _bring_forward(deps, proposal, change, strays)
    except HomeostatError as error:
        left = [str(error)]
    return [f"proposal {proposal.id} is {proposal.state.value}, but {item}" for item in left]


def _bring_forward(deps: Deps, proposal: Proposal, change: TreeChange, strays: Sequence[HostProcess]) -> list[str]:
    if not plan_change(change, mode=deps.settings.hmr.mode).needs_live:
        return []
    timeout_s = deps.settings.hmr.timeout_s
    wanted = live_change(proposal.id, change, mode=deps.settings.hmr.mode)
    results = [deps.live.swap(process.id, wanted, timeout_s=timeout_s) for process in strays]
    return [item.detail for item in results if item.outcome is not LiveOutcome.SWAPPED]
