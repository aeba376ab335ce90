"""Applying an approved change: disk, Git and running processes together, or none of them.

The order, stated once:

1. check that the change still fits (head is the base, touched files clean, digest as approved);
2. keep the before side (backup), make the commit object: nothing has moved yet;
3. journal: the row becomes *applying* and names both, in one transaction with its ledger entry;
4. move branch and checkout (`DeployedTree.advance`), which finishes the same work when called again;
5. swap the running processes, all or none;
6. the row becomes *observing* or *awaiting_restart*.

A crash before 3 leaves nothing that anybody sees. From 3 on, `apply` called again goes on from the
row: 4 and 5 are idempotent. A failure in 4 or 5 puts everything back and ends in *failed*.
"""

from collections.abc import Sequence
from dataclasses import replace

from homeostat.core.digests import Digest, digest_bytes
from homeostat.core.errors import Conflict, InvalidInput, Unavailable
from homeostat.core.ids import ProcessId, ProposalId
from homeostat.flows.deciding import approve
from homeostat.flows.deps import Deps
from homeostat.flows.proposing import resolve_diff
from homeostat.flows.transition import must, read, transition
from homeostat.model.actor import SYSTEM, Actor
from homeostat.model.change import TreeChange
from homeostat.model.process import HostProcess, LiveOutcome, LiveResult
from homeostat.model.proposal import Application, Proposal, ProposalState
from homeostat.model.verdict import Denied
from homeostat.ports.live import LiveChange, ModuleChange
from homeostat.proposals.lifecycle import ApplyAsked, ApplyFailed, ApplyStarted, RestartNeeded, WentLive
from homeostat.rollout.live import module_sources, plan_change

_REJOIN_S = 10.0
"""How long a recovery waits for processes that were attached before; the agent's back-off is at most 5 s."""

_APPLIED = frozenset(
    {
        ProposalState.APPLYING,
        ProposalState.OBSERVING,
        ProposalState.AWAITING_RESTART,
        ProposalState.IMPLEMENTED,
    }
)


def request_apply(
    deps: Deps, proposal_id: ProposalId, *, actor: Actor, seen: Digest | None, label: str = ""
) -> Proposal | Denied:
    """Approve (when that is still to be done) and start applying. Asked twice, it happens once.

    What can be refused is refused here, before the approval is written, so that a refusal leaves
    the proposal as it was.
    """
    proposal = read(deps, proposal_id)
    if proposal.state in _APPLIED:
        return proposal
    if not actor.may_approve:
        return Denied(code="not-a-person", reasons=("an agent's token cannot apply a proposal",))
    if not deps.settings.self_improvement.enabled:
        return Denied(code="disabled", reasons=("applying is switched off: `self_improvement.enabled` is false",))
    if proposal.state is ProposalState.APPROVED and proposal.apply_requested:
        # Asked already: another entry would take the row from under the flow that is about to begin.
        deps.start.apply_asked(proposal.id)
        return proposal
    if proposal.state in (ProposalState.AWAITING_APPROVAL, ProposalState.APPROVED):
        fits = _check_fits(deps, proposal)
        if isinstance(fits, Denied):
            return fits
    if proposal.state is ProposalState.APPROVED:
        outcome = transition(deps, proposal, ApplyAsked(), actor=actor)
    else:
        outcome = approve(deps, proposal_id, actor=actor, seen=seen, apply_requested=True, label=label)
    if isinstance(outcome, Proposal):
        deps.start.apply_asked(outcome.id)
    return outcome


def apply(deps: Deps, proposal_id: ProposalId) -> None:
    """Take an approved proposal whose application was asked through steps 1 to 6; idempotent."""
    proposal = read(deps, proposal_id)
    # After a restart of the hub the programs dial in one by one: all of them shall take the change.
    deps.live.wait_until_gathered(timeout_s=_REJOIN_S)
    if proposal.state is ProposalState.APPROVED and proposal.apply_requested:
        begun = _begin(deps, proposal)
        if begun is None:
            return
        proposal = begun
    if proposal.state is ProposalState.APPLYING:
        _finish(deps, proposal)


def change_of(deps: Deps, proposal: Proposal) -> TreeChange:
    """Return the change of an approved proposal, made again from the diff that was consented to."""
    diff = proposal.diff.encode("utf-8")
    if digest_bytes(diff) != proposal.change.diff_digest:
        raise InvalidInput("diff-altered", f"the stored diff of {proposal.id} is not the one that was proved")
    change = resolve_diff(deps, diff, proposal.change.base_commit)
    if isinstance(change, Denied):
        raise InvalidInput("diff-altered", change.reasons[0])
    return change


def _check_fits(deps: Deps, proposal: Proposal) -> TreeChange | Denied:
    head = deps.commits.head()
    if head != proposal.change.base_commit:
        return Denied(
            code="base-moved",
            reasons=(
                f"proposal {proposal.id} was made on {proposal.change.base_commit[:12]}; "
                f"the branch {deps.commits.deployed_branch()} is now at {head[:12]}",
            ),
            hint="make the diff against the present head and propose it again",
        )
    change = change_of(deps, proposal)
    drift = deps.deployed.drift(change)
    if drift:
        return Denied(
            code="dirty-files",
            reasons=tuple(f"{item.path} is {item.problem} in the checkout" for item in drift),
            hint="commit or undo your own changes to these files, then apply again",
        )
    return change


def _begin(deps: Deps, proposal: Proposal) -> Proposal | None:
    fits = _check_fits(deps, proposal)
    if isinstance(fits, Denied):
        must(transition(deps, proposal, ApplyFailed(reason="; ".join(fits.reasons)), actor=SYSTEM))
        return None
    at = proposal.updated_at
    head = proposal.change.base_commit
    backup = f"{at.strftime('%Y%m%dT%H%M%SZ')}/{proposal.id}"
    deps.backups.save(
        name=backup,
        change=fits,
        facts={"proposal": proposal.id, "base_commit": head, "change_digest": proposal.change.change_digest},
    )
    commit = deps.deployed.prepare(parent=head, change=fits, message=commit_message(proposal), at=at)
    application = Application(
        before_commit=head,
        commit=commit,
        backup=backup,
        at=deps.clock.now(),
        processes=tuple(process.id for process in deps.live.processes() if process.connected),
    )
    return must(transition(deps, proposal, ApplyStarted(application=application), actor=SYSTEM))


def commit_message(proposal: Proposal) -> str:
    """Return the message of the commit that carries an applied change."""
    reviewed = proposal.review.by if proposal.review else "nobody"
    return (
        f"{proposal.title}\n\n{proposal.rationale}\n\n"
        f"Homeostat-Proposal: {proposal.id}\n"
        f"Homeostat-Change: {proposal.change.change_digest}\n"
        f"Homeostat-Approved-By: {reviewed}\n"
    )


def _finish(deps: Deps, proposal: Proposal) -> None:
    application = proposal.application
    assert application is not None
    change = change_of(deps, proposal)
    deps.live.wait_until_connected(application.processes, timeout_s=_REJOIN_S)
    try:
        deps.deployed.advance(expected=application.before_commit, commit=application.commit, change=change)
    except (Conflict, Unavailable) as error:
        deps.deployed.retreat(expected=application.before_commit, commit=application.commit, change=change)
        must(transition(deps, proposal, ApplyFailed(reason=f"nothing was changed: {error.message}"), actor=SYSTEM))
        return
    outcome = swap_everywhere(deps, proposal.id, change)
    if isinstance(outcome, ApplyFailed):
        deps.deployed.retreat(expected=application.before_commit, commit=application.commit, change=change)
    must(transition(deps, proposal, outcome, actor=SYSTEM))
    deps.candidates.delete(proposal.id)


def swap_everywhere(deps: Deps, change_id: str, change: TreeChange) -> WentLive | RestartNeeded | ApplyFailed:
    """Swap a change into every attached process, all or none; files are on disk already.

    A process that starts meanwhile has read the new files; one that attached between the listing
    and the files is caught by listing again until nobody is left out.
    """
    plan = plan_change(change)
    if not plan.needs_live:
        return WentLive(detail="no running process loads the changed files")
    if not deps.settings.hmr.enabled:
        return RestartNeeded(detail="hot module reload is disabled (`hmr.enabled`)")
    if plan.restart_reasons:
        return RestartNeeded(detail="; ".join(plan.restart_reasons))
    wanted = live_change(change_id, change, mode=deps.settings.hmr.mode)
    swapped: dict[ProcessId, LiveResult] = {}
    while True:
        waiting = [item for item in deps.live.processes() if item.connected and item.id not in swapped]
        if not waiting:
            break
        results = _swap_all(deps, wanted, waiting)
        bad = [item for item in results if item.outcome is not LiveOutcome.SWAPPED]
        if bad:
            _put_back(deps, change_id, [*swapped, *(item.id for item in waiting)])
            detail = "; ".join(f"process {_pid(waiting, item)}: {item.detail}" for item in bad)
            if all(item.outcome is LiveOutcome.RESTART_REQUIRED for item in bad):
                return RestartNeeded(detail=detail)
            return ApplyFailed(reason=f"HMR application failed: {detail}")
        swapped |= {item.process_id: item for item in results}
    if not swapped:
        return RestartNeeded(detail="no running process is attached")
    functions = sorted({name for item in swapped.values() for name in item.functions})
    slowest_us = max((item.swap_us or 0) for item in swapped.values())
    return WentLive(
        detail=f"swapped {', '.join(functions) or 'nothing that is loaded'} in {len(swapped)} "
        f"process{'es' if len(swapped) > 1 else ''}, {slowest_us} us"
    )


def live_change(change_id: str, change: TreeChange, *, mode: str) -> LiveChange:
    """Return the command that carries a change to a process; only for a plan without restart reasons."""
    modules = (ModuleChange(path=path, old_source=old, new_source=new) for path, old, new in module_sources(change))
    return LiveChange(id=change_id, modules=tuple(modules), mode=mode)


def _swap_all(deps: Deps, wanted: LiveChange, waiting: Sequence[HostProcess]) -> list[LiveResult]:
    """Prepare everywhere, and only when all could, swap everywhere; the last result is the first bad one."""
    timeout_s = deps.settings.hmr.timeout_s
    for process in waiting:
        prepared = deps.live.prepare(process.id, wanted, timeout_s=timeout_s)
        if prepared.outcome is LiveOutcome.FAILED:
            # Nothing was tried yet: what runs there is not what the change was made from, and only
            # a restart brings it to the files on disk.
            prepared = replace(prepared, outcome=LiveOutcome.RESTART_REQUIRED)
        if prepared.outcome is not LiveOutcome.SWAPPED:
            return [prepared]
    results = []
    for process in waiting:
        results.append(deps.live.swap(process.id, wanted, timeout_s=timeout_s))
        if results[-1].outcome is not LiveOutcome.SWAPPED:
            break
    return results


def _put_back(deps: Deps, change_id: str, processes: Sequence[ProcessId]) -> None:
    """Ask every process that may have swapped to take it back; one that is gone has nothing to take back."""
    for process_id in processes:
        deps.live.rollback(process_id, change_id, timeout_s=deps.settings.hmr.timeout_s)


def _pid(processes: Sequence[HostProcess], result: LiveResult) -> str:
    return next((str(item.pid) for item in processes if item.id == result.process_id), result.process_id)
