"""Applying an approved change: disk, Git and running processes together, or none of them.

The order, stated once:

1. check that the change still fits (head is the base, touched files clean, digest as approved);
2. keep the before side (backup), make the commit object: nothing has moved yet;
3. journal: the row becomes *applying* and names both, in one transaction with its ledger entry; where changes
   are tried first, a share of the calls runs it now (`homeostat.flows.canarying`), and 4 waits until it has passed;
4. move branch and checkout (`DeployedTree.advance`), which finishes the same work when called again;
5. swap the running processes, all or none;
6. the row becomes *observing* or *awaiting_restart*.

A crash before 3 leaves nothing that anybody sees. From 3 on, `apply` called again goes on from the
row: 4 and 5 are idempotent. A failure in 4 or 5 puts everything back and ends in *failed*.
"""

from dataclasses import replace

from homeostat.core.digests import Digest
from homeostat.core.errors import Conflict, IntegrityFailure, InvalidInput, Unavailable
from homeostat.core.ids import ProposalId
from homeostat.flows import canarying
from homeostat.flows.bringing_in_line import bring_back, live_change
from homeostat.flows.deciding import approve, policy_changed
from homeostat.flows.deps import Deps
from homeostat.flows.permitting import ask
from homeostat.flows.proposing import resolve_diff
from homeostat.flows.swapping import NotSwapped, swap_into_all
from homeostat.flows.transition import drop_candidate, must, read, read_all, transition
from homeostat.flows.vouching import check_recorded
from homeostat.model.actor import SYSTEM, Actor
from homeostat.model.canary import CanaryStage
from homeostat.model.change import TreeChange
from homeostat.model.proposal import MOVES_TREE, ON_TRIAL, Application, Proposal, ProposalState
from homeostat.model.verdict import Denied
from homeostat.policy.authorization import Action
from homeostat.proposals.events import ApplyAsked, ApplyFailed, ApplyStarted, RestartNeeded, WentLive
from homeostat.rollout.consent import change_ref
from homeostat.rollout.live import plan_change

_REJOIN_S = 10.0
"""How long a recovery waits for processes that were attached before; the agent's back-off is at most 5 s."""

_NAMED = 100
"""Functions that are named in a row's words; a change of more is described by its diff."""

_UNDER_WAY = frozenset({ProposalState.APPROVED, ProposalState.APPLYING})

_APPLIED = frozenset(
    {
        ProposalState.APPLYING,
        ProposalState.CANARY,
        ProposalState.OBSERVING,
        ProposalState.AWAITING_RESTART,
        ProposalState.IMPLEMENTED,
    }
)


def request_apply(
    deps: Deps,
    proposal_id: ProposalId,
    *,
    actor: Actor,
    seen: Digest | None,
    label: str = "",
    forced: bool = False,
    reason: str = "",
) -> Proposal | Denied:
    """Approve (when that is still to be done) and start applying. Asked twice, it happens once.

    What can be refused is refused here, before the approval is written, so that a refusal leaves
    the proposal as it was.
    """
    proposal = read(deps, proposal_id)
    if proposal.state is ProposalState.AWAITING_APPROVAL or proposal.state in _UNDER_WAY:
        check_recorded(deps, proposal)
    permitted = _may_apply(deps, actor, proposal, forced, reason)
    if isinstance(permitted, Denied):
        return permitted
    if proposal.state in _APPLIED:
        return proposal
    if not deps.settings.self_improvement.enabled:
        return Denied(code="disabled", reasons=("applying is switched off: `self_improvement.enabled` is false",))
    if proposal.state is ProposalState.APPROVED and proposal.apply_requested:
        # Asked already: another entry would take the row from under the flow that is about to begin.
        deps.start.apply_asked(proposal.id)
        return proposal
    if proposal.state in (ProposalState.AWAITING_APPROVAL, ProposalState.APPROVED):
        fits = check_fits(deps, proposal)
        if isinstance(fits, Denied):
            return fits
    if proposal.state is ProposalState.APPROVED:
        outcome = transition(deps, proposal, ApplyAsked(), actor=actor, policies=permitted)
    else:
        outcome = approve(
            deps,
            proposal_id,
            actor=actor,
            seen=seen,
            apply_requested=True,
            label=label,
            forced=forced,
            notes=reason,
            policies=permitted,
        )
    if isinstance(outcome, Proposal):
        deps.start.apply_asked(outcome.id)
    return outcome


def _may_apply(deps: Deps, actor: Actor, proposal: Proposal, forced: bool, reason: str) -> tuple[str, ...] | Denied:
    """Return the policies that let the actor apply it, and skip the waiting where that is asked too; or the refusal."""
    policies: tuple[str, ...] = ()
    for action in (Action.APPLY, Action.FORCE) if forced else (Action.APPLY,):
        permitted = ask(deps, actor, action, proposal, reason=reason)
        if isinstance(permitted, Denied):
            return permitted
        policies += permitted.policies
    return policies


def apply(deps: Deps, proposal_id: ProposalId) -> None:
    """Take an approved proposal whose application was asked through steps 1 to 6; idempotent."""
    proposal = read(deps, proposal_id)
    # After a restart of the hub the programs dial in one by one: all of them shall take the change.
    deps.live.wait_until_gathered(timeout_s=_REJOIN_S)
    if proposal.state in _UNDER_WAY:
        # INVARIANT: what no entry of the ledger led to is not applied, nor finished.
        check_recorded(deps, proposal)
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
    written = proposal.change
    if change_ref(written.base_commit, diff, written.policy_digest) != written:
        raise InvalidInput("diff-altered", f"the stored change of {proposal.id} is not the one that was proved")
    change = resolve_diff(deps, diff, proposal.change.base_commit)
    if isinstance(change, Denied):
        raise InvalidInput("diff-altered", change.reasons[0])
    return change


def check_fits(deps: Deps, proposal: Proposal) -> TreeChange | Denied:
    """Return the change as it can be put on the deployed branch and into the checkout now, or why it cannot."""
    # INVARIANT: consent binds the policy too; one that was given under another policy does not count.
    if proposal.change.policy_digest != deps.policy.digest:
        return policy_changed()
    trying = [item for item in deps.proposals.find(states=ON_TRIAL, limit=2) if item.id != proposal.id]
    if trying:
        # When it passes the branch moves on, and this would not fit any more; until then nobody could tell two apart.
        return Denied(
            code="canary-under-way",
            reasons=(f"proposal {trying[0].id} ({trying[0].title}) is being tried on a share of the calls",),
            hint=f"wait until it is decided, or take it back: `homeostat revert {trying[0].id[:8]}`",
        )
    head = deps.commits.head()
    if head != proposal.change.base_commit:
        return Denied(
            code="base-moved",
            reasons=(
                f"proposal {proposal.id} was made on {proposal.change.base_commit[:12]}; "
                f"the branch {deps.commits.deployed_branch()} is now at {head[:12]}",
            ),
            hint="make the diff against the present head (where it still fits, it may stay as it is) and hand it in: "
            f"homeostat proposals edit {proposal.id[:8]} --diff FILE",
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
    for other in read_all(deps.proposals, states=MOVES_TREE):
        if _has_yet_to_move(deps, other):
            # What a crash interrupted is finished first: the head that is seen now may not be the one that stays.
            raise Conflict("tree-busy", f"proposal {other.id} is {other.state.value}; this one waits for it")
    review = proposal.review
    if review is None or review.decision != "approved" or review.change_digest != proposal.change.change_digest:
        raise IntegrityFailure("not-approved", f"the row of {proposal.id} says approved, and holds no such approval")
    fits = check_fits(deps, proposal)
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
        canary=_to_be_tried(deps),
    )
    return must(transition(deps, proposal, ApplyStarted(application=application), actor=SYSTEM))


def _to_be_tried(deps: Deps) -> CanaryStage | None:
    """Journal, before anything moves, that a share of the calls comes first: what goes on after a crash must know."""
    if not deps.settings.canary.steps:
        return None
    return CanaryStage(began_at=deps.clock.now(), percent=0)


def _has_yet_to_move(deps: Deps, proposal: Proposal) -> bool:
    application = proposal.application
    if proposal.state is not ProposalState.REVERTING or application is None or application.revert_commit is None:
        return True
    return not deps.commits.is_ancestor(application.revert_commit, deps.commits.head())


def commit_message(proposal: Proposal) -> str:
    """Return the message of the commit that carries an applied change."""
    reviewed = proposal.review.by if proposal.review else "nobody"
    return (
        f"{proposal.title}\n\n{_quoted(proposal.rationale)}\n\n"
        f"Homeostat-Proposal: {proposal.id}\n"
        f"Homeostat-Change: {proposal.change.change_digest}\n"
        f"Homeostat-Approved-By: {reviewed}\n"
    )


def _quoted(text: str) -> str:
    """Indent a stranger's text, so that no line of it is read as a trailer or as the end of the message."""
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())


def _finish(deps: Deps, proposal: Proposal) -> None:
    application = proposal.application
    assert application is not None
    change = change_of(deps, proposal)
    deps.live.wait_until_connected(application.processes, timeout_s=_REJOIN_S)
    if not application.reached_branch:
        proposal = canarying.begin(deps, proposal, change)
        if proposal.state is ProposalState.CANARY:
            return
    try:
        deps.deployed.advance(expected=application.before_commit, commit=application.commit, change=change)
    except (Conflict, Unavailable) as error:
        settled = _not_moved(deps, application, change, error)
        if isinstance(settled, ApplyFailed):
            settled = _out_of_processes(deps, proposal, change, settled)
        must(transition(deps, proposal, settled, actor=SYSTEM))
        drop_candidate(deps, proposal.id)
        return
    on_disk_at = deps.clock.now()
    outcome = swap_everywhere(deps, proposal.id, change)
    if isinstance(outcome, ApplyFailed):
        deps.deployed.retreat(expected=application.before_commit, commit=application.commit, change=change)
        # A process that was started meanwhile has read the new files.
        files_back_at = deps.clock.now()
        still = bring_back(deps, proposal, change.inverse(), files_back_at=files_back_at)
        detail = f"{outcome.reason}; {'; '.join(still)}" if still else outcome.reason
        outcome = ApplyFailed(reason=detail, files_back_at=files_back_at)
    else:
        outcome = replace(outcome, on_disk_at=on_disk_at)
    must(transition(deps, proposal, outcome, actor=SYSTEM))
    drop_candidate(deps, proposal.id)


def _not_moved(
    deps: Deps, application: Application, change: TreeChange, error: Conflict | Unavailable
) -> RestartNeeded | ApplyFailed:
    """Settle a move that was refused; what an earlier, interrupted run had moved is put back first."""
    try:
        deps.deployed.retreat(expected=application.before_commit, commit=application.commit, change=change)
    except Conflict:
        if deps.commits.is_ancestor(application.commit, deps.commits.head()):
            return RestartNeeded(detail=f"the branch went on from the change before it was live: {error.message}")
        # The branch never had the commit, and what stands in the files is somebody else's.
    return ApplyFailed(reason=f"nothing was changed: {error.message}")


def _out_of_processes(deps: Deps, proposal: Proposal, change: TreeChange, failed: ApplyFailed) -> ApplyFailed:
    """Take out of the processes what a canary, or an earlier run that was interrupted, has brought there."""
    assert proposal.application is not None
    try:
        theirs = bool(deps.deployed.drift(change))
    except Conflict:
        theirs = True
    # Who started since may have read the change from the disk; or what somebody else has put there, which is theirs.
    files_back_at = proposal.application.at if theirs else deps.clock.now()
    still = bring_back(deps, proposal, change.inverse(), files_back_at=files_back_at)
    return replace(failed, reason="; ".join([failed.reason, *still]), files_back_at=files_back_at)


def swap_everywhere(deps: Deps, change_id: str, change: TreeChange) -> WentLive | RestartNeeded | ApplyFailed:
    """Swap a change into every attached process, all or none; files are on disk already."""
    plan = plan_change(change, mode=deps.settings.hmr.mode)
    if not plan.needs_live:
        return WentLive(detail="no running process loads the changed files")
    if not deps.settings.hmr.enabled:
        return RestartNeeded(detail="hot module reload is disabled (`hmr.enabled`)")
    if plan.restart_reasons:
        return RestartNeeded(detail="; ".join(plan.restart_reasons))
    done = swap_into_all(deps, live_change(change_id, change, mode=deps.settings.hmr.mode))
    if isinstance(done, NotSwapped):
        if done.needs_restart:
            return RestartNeeded(detail=done.reason)
        return ApplyFailed(reason=f"HMR application failed: {done.reason}")
    if not done.processes:
        return RestartNeeded(detail="no running process is attached")
    functions = done.functions
    named = [*functions[:_NAMED], f"{len(functions) - _NAMED} more"] if len(functions) > _NAMED else functions
    return WentLive(
        detail=f"swapped {', '.join(named) or 'nothing that is loaded'} in {len(done.processes)} "
        f"process{'es' if len(done.processes) > 1 else ''}, {done.slowest_us} us"
    )
