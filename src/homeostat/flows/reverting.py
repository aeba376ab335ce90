"""Taking a change back: running processes first, then branch and checkout, then the word for it.

The order: check that the tree has not moved on → commit object → journal (the row becomes
*reverting*) → roll back live → move branch and checkout → look that it is so → *reverted*. Like
applying, `revert` called again after a crash goes on from the row.
"""

from collections.abc import Sequence

from homeostat.core.errors import Conflict
from homeostat.core.ids import ProposalId
from homeostat.flows.applying import change_of, live_change
from homeostat.flows.deps import Deps
from homeostat.flows.transition import must, read, transition
from homeostat.model.actor import SYSTEM, Actor
from homeostat.model.change import TreeChange
from homeostat.model.process import HostProcess, LiveOutcome, LiveResult
from homeostat.model.proposal import REVERT_WAITS, Proposal, ProposalState
from homeostat.model.verdict import Denied
from homeostat.ports.repository import Drift
from homeostat.proposals.lifecycle import RevertAborted, Reverted, RevertStarted, RevertWaits

_REJOIN_S = 10.0


def request_revert(deps: Deps, proposal_id: ProposalId, *, actor: Actor, reason: str) -> Proposal | Denied:
    """Journal a revert and start it. Refused, with every path named, when the tree has moved on."""
    proposal = read(deps, proposal_id)
    if proposal.state in (ProposalState.REVERTING, ProposalState.REVERTED):
        return proposal
    if not actor.may_approve:
        return Denied(code="not-a-person", reasons=("an agent's token cannot revert a change",))
    return _request(deps, proposal, actor=actor, reason=reason or "asked for", automatic=False)


def request_automatic_revert(deps: Deps, proposal_id: ProposalId, *, reason: str) -> Proposal | Denied:
    """Take a harmful change back without asking anybody."""
    return _request(deps, read(deps, proposal_id), actor=SYSTEM, reason=reason, automatic=True)


def _request(deps: Deps, proposal: Proposal, *, actor: Actor, reason: str, automatic: bool) -> Proposal | Denied:
    if proposal.application is None or (
        proposal.state
        not in (
            ProposalState.OBSERVING,
            ProposalState.AWAITING_RESTART,
            ProposalState.IMPLEMENTED,
        )
        and not _half_taken_back(proposal)
    ):
        return Denied(
            code="nothing-to-revert",
            reasons=(f"proposal {proposal.id} is {proposal.state.value}: nothing of it is applied",),
        )
    back = kept_inverse(deps, proposal)
    parent = deps.commits.head()
    try:
        drift = deps.deployed.drift(back)
    except Conflict:
        if not automatic:
            raise
        movable = False
    else:
        if drift and not automatic:
            return _moved_on(drift)
        movable = not drift
    # Harm ends even where the files cannot be had: then no commit is made, and a person must decide.
    commit = parent
    if movable:
        message = _message(proposal, reason)
        commit = deps.deployed.prepare(parent=parent, change=back, message=message, at=deps.clock.now())
    started = RevertStarted(parent=parent, commit=commit, reason=reason, automatic=automatic)
    outcome = transition(deps, proposal, started, actor=actor)
    if isinstance(outcome, Proposal):
        deps.start.revert_asked(outcome.id)
    return outcome


def _half_taken_back(proposal: Proposal) -> bool:
    """Tell whether an automatic revert could bring back the processes only: the files are still to be had."""
    application = proposal.application
    return proposal.state is ProposalState.FAILED and application is not None and application.automatic_revert


def kept_inverse(deps: Deps, proposal: Proposal) -> TreeChange:
    """Return the change that puts the kept bytes back; `IntegrityFailure` when the snapshot was altered."""
    assert proposal.application is not None
    return deps.backups.load(proposal.application.backup).inverse()


def revert(deps: Deps, proposal_id: ProposalId) -> None:
    """Carry a journalled revert to its end; idempotent."""
    proposal = read(deps, proposal_id)
    application = proposal.application
    if proposal.state is not ProposalState.REVERTING or application is None:
        return
    assert application.revert_parent is not None and application.revert_commit is not None
    deps.live.wait_until_gathered(timeout_s=_REJOIN_S)
    deps.live.wait_until_connected(application.processes, timeout_s=_REJOIN_S)
    back = kept_inverse(deps, proposal)
    # Harm ends before anything else is tried.
    still = _roll_back_live(deps, proposal, back) if application.automatic_revert else []
    if application.revert_commit == application.revert_parent:
        _abort(deps, proposal, "they were changed since", still)
        return
    try:
        deps.deployed.advance(expected=application.revert_parent, commit=application.revert_commit, change=back)
    except Conflict as error:
        _abort(deps, proposal, error.message, still)
        return
    still = _roll_back_live(deps, proposal, back)
    if still:
        # INVARIANT: it is called reverted only when no process runs it. Recovery asks again, until those
        # that cannot go back have been restarted and those that do not answer are known to be gone.
        reason = f"{REVERT_WAITS} {'; '.join(still)}"
        if reason != proposal.state_reason:
            must(transition(deps, proposal, RevertWaits(reason=reason), actor=SYSTEM))
        return
    detail = f"files and branch are as before (commit {application.revert_commit[:12]}), running processes too"
    edited = deps.deployed.drift(change_of(deps, proposal))
    if edited:
        detail += f"; edited since: {', '.join(item.path for item in edited)}"
    must(transition(deps, proposal, Reverted(detail=detail), actor=SYSTEM))
    deps.candidates.delete(proposal.id)


def _roll_back_live(deps: Deps, proposal: Proposal, back: TreeChange) -> list[str]:
    """Bring every process back to the old code; return in words which ones are not seen to be there."""
    application = proposal.application
    assert application is not None
    timeout_s = deps.settings.hmr.timeout_s
    unfinished = []
    for process in deps.live.processes():
        if not process.connected:
            if proposal.id in process.changes or _runs_change(process, proposal):
                unfinished.append(f"process {process.pid} does not answer")
        elif proposal.id in process.changes:
            result = deps.live.rollback(process.id, proposal.id, timeout_s=timeout_s)
            _note(unfinished, process, result)
        elif _runs_change(process, proposal):
            # It was started with the change on disk: swap the old code in as a change of its own.
            reverse = live_change(f"{proposal.id}:revert", back, mode=deps.settings.hmr.mode)
            _note(unfinished, process, deps.live.swap(process.id, reverse, timeout_s=timeout_s))
    return unfinished


def _note(unfinished: list[str], process: HostProcess, result: LiveResult) -> None:
    if result.outcome is LiveOutcome.UNREACHABLE:
        unfinished.append(f"process {process.pid} does not answer")
    elif result.outcome is not LiveOutcome.SWAPPED:
        unfinished.append(f"process {process.pid} still runs the change and must be restarted ({result.detail})")


def _runs_change(process: HostProcess, proposal: Proposal) -> bool:
    """Tell whether it was started while the change was on disk; one that swapped it says so itself."""
    application = proposal.application
    if application is None or application.reverting_at is None:
        return False
    return application.at < process.started_at < application.reverting_at


def _abort(deps: Deps, proposal: Proposal, why: str, still: Sequence[str]) -> None:
    """Note that the files could not be had; of an automatic revert also what became of the processes."""
    assert proposal.application is not None
    reason = why
    if proposal.application.automatic_revert:
        live = "; ".join(still) or "running processes were brought back"
        reason = f"{live}, but files were not: {why}; a person must decide"
    must(transition(deps, proposal, RevertAborted(reason=reason), actor=SYSTEM))


def _moved_on(drift: Sequence[Drift]) -> Denied:
    return Denied(
        code="tree-moved-on",
        reasons=tuple(f"{item.path} is {item.problem} since the change was applied" for item in drift),
        hint="put your own changes of these files aside (commit them elsewhere or undo them), then revert again",
    )


def _message(proposal: Proposal, reason: str) -> str:
    return f'Revert "{proposal.title}"\n\n{reason}\n\nHomeostat-Reverts: {proposal.id}\n'
