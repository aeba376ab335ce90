"""Taking a change back: running processes first, then branch and checkout, then the word for it.

The order: check that the tree has not moved on → commit object → journal (the row becomes
*reverting*) → roll back live → move branch and checkout → look that it is so → *reverted*. Like
applying, `revert` called again after a crash goes on from the row. Where the branch has gone on since the
journal entry and left the files alone, the commit is made anew on its head, and journalled anew.
"""

from collections.abc import Mapping, Sequence, Set

from homeostat.core.canonical_json import JsonValue
from homeostat.core.errors import Conflict
from homeostat.core.ids import ProposalId
from homeostat.flows import canarying
from homeostat.flows.applying import change_of
from homeostat.flows.bringing_in_line import bring_back, take_out_at_once
from homeostat.flows.deps import Deps
from homeostat.flows.permitting import ask
from homeostat.flows.restart_back import restart_back
from homeostat.flows.taking_out import put_back_in
from homeostat.flows.transition import drop_candidate, moved_since, must, read, transition
from homeostat.model.actor import SYSTEM, Actor
from homeostat.model.change import TreeChange
from homeostat.model.proposal import REVERT_WAITS, Application, Proposal, ProposalState
from homeostat.model.verdict import Denied
from homeostat.policy.authorization import Action
from homeostat.ports.repository import Drift
from homeostat.proposals.events import RevertAborted, Reverted, RevertReplanned, RevertStarted, RevertWaits

_REJOIN_S = 10.0
IN_FORCE = frozenset({ProposalState.OBSERVING, ProposalState.AWAITING_RESTART, ProposalState.IMPLEMENTED})
"""States in which a change stands in branch and files, and nothing is under way with it."""

_MOST_PLANS = 3
"""How often a revert is planned before a branch that will not stand still is left to a person."""


def request_revert(deps: Deps, proposal_id: ProposalId, *, actor: Actor, reason: str) -> Proposal | Denied:
    """Journal a revert and start it. Refused, with every path named, when the tree has moved on."""
    proposal = read(deps, proposal_id)
    permitted = ask(deps, actor, Action.REVERT, proposal, reason=reason)
    if isinstance(permitted, Denied):
        return permitted
    if proposal.state in (ProposalState.REVERTING, ProposalState.REVERTED):
        return proposal
    why = reason or "asked for"
    return _request(deps, proposal, actor=actor, reason=why, automatic=False, policies=permitted.policies)


def request_automatic_revert(
    deps: Deps, proposal_id: ProposalId, *, reason: str, facts: Mapping[str, JsonValue] | None = None
) -> Proposal | Denied:
    """Take a harmful change back without asking anybody; `facts` are what a detector saw."""
    return _request(deps, read(deps, proposal_id), actor=SYSTEM, reason=reason, automatic=True, facts=facts)


def _request(
    deps: Deps,
    proposal: Proposal,
    *,
    actor: Actor,
    reason: str,
    automatic: bool,
    facts: Mapping[str, JsonValue] | None = None,
    policies: tuple[str, ...] = (),
) -> Proposal | Denied:
    if proposal.state is ProposalState.CANARY:
        return canarying.end(
            deps, proposal, actor=actor, reason=reason, automatic=automatic, facts=facts, policies=policies
        )
    if not stands(proposal):
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
            return _moved_on(deps, proposal, drift)
        movable = not drift
    # Harm ends even where the files cannot be had: then no commit is made, and a person must decide.
    commit = parent
    if movable:
        message = _message(proposal, reason)
        commit = deps.deployed.prepare(parent=parent, change=back, message=message, at=deps.clock.now())
    started = RevertStarted(parent=parent, commit=commit, reason=reason, automatic=automatic, facts=facts or {})
    return transition(deps, proposal, started, actor=actor, policies=policies, at_once=deps.start.revert_asked)


def stands(proposal: Proposal) -> bool:
    """Tell whether a change is in branch and files, also where an automatic revert could bring back processes only."""
    application = proposal.application
    half_taken_back = (
        proposal.state is ProposalState.FAILED and application is not None and application.automatic_revert
    )
    return application is not None and (proposal.state in IN_FORCE or half_taken_back)


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
    _wait_for_all(deps, proposal, application)
    if not application.reached_branch:
        canarying.give_back(deps, proposal, deps.backups.load(application.backup))
        drop_candidate(deps, proposal.id)
        return
    back = kept_inverse(deps, proposal)
    # In whoever turned up since, too, and before anything else is tried.
    still = bring_back(deps, proposal, back) if application.automatic_revert else []
    for _ in range(_MOST_PLANS):
        refused = _move_back(deps, application, back)
        replanned = _replan(deps, proposal, application, back) if refused else None
        if replanned is None:
            break
        proposal, application = replanned
    if refused:
        _abort(deps, proposal, refused, still)
        return
    assert application.revert_commit is not None
    files_back_at = application.files_back_at or deps.clock.now()
    edited = deps.deployed.drift(change_of(deps, proposal))
    # The last look before the word: whoever dials in after it is brought in line at the next recovery.
    still = bring_back(deps, proposal, back, files_back_at=files_back_at)
    put_back_in(deps, proposal)
    restart_back(deps, proposal, processes_left=bool(still))
    if still:
        # INVARIANT: it is called reverted only when no process runs it. Recovery asks again, until those
        # that cannot go back have been restarted and those that do not answer are known to be gone.
        reason = f"{REVERT_WAITS} {'; '.join(still)}"
        if reason != proposal.state_reason:
            must(transition(deps, proposal, RevertWaits(reason=reason, files_back_at=files_back_at), actor=SYSTEM))
        return
    detail = f"files and branch are as before (commit {application.revert_commit[:12]}), running processes too"
    if edited:
        detail += f"; edited since: {', '.join(item.path for item in edited)}"
    must(transition(deps, proposal, Reverted(detail=detail, files_back_at=files_back_at), actor=SYSTEM))
    drop_candidate(deps, proposal.id)


def _wait_for_all(deps: Deps, proposal: Proposal, application: Application) -> None:
    """Wait for the processes that took the change. Harm ends in those that are there before any other is waited for."""
    live = deps.live
    if live.wait_until_gathered(timeout_s=0) and live.wait_until_connected(application.processes, timeout_s=0):
        return
    if application.automatic_revert or not application.reached_branch:
        take_out_at_once(deps, proposal)
    live.wait_until_gathered(timeout_s=_REJOIN_S)
    live.wait_until_connected(application.processes, timeout_s=_REJOIN_S)


def _move_back(deps: Deps, application: Application, back: TreeChange) -> str:
    """Move branch and checkout as it was journalled; return why that was refused, or an empty text."""
    assert application.revert_parent is not None and application.revert_commit is not None
    if application.revert_commit == application.revert_parent:
        return "they were changed since"
    try:
        deps.deployed.advance(expected=application.revert_parent, commit=application.revert_commit, change=back)
    except Conflict as error:
        if not deps.commits.is_ancestor(application.revert_commit, deps.commits.head()):
            return error.message
        # It was done before a crash, and somebody went on from there: what is in the files now is theirs.
    return ""


def _replan(
    deps: Deps, proposal: Proposal, application: Application, back: TreeChange
) -> tuple[Proposal, Application] | None:
    """Journal the revert anew on the present head. None where the files are not as the change left them any more."""
    parent = deps.commits.head()
    try:
        if deps.deployed.drift(back):
            return None
    except Conflict:
        return None
    message = _message(proposal, application.revert_reason)
    commit = deps.deployed.prepare(parent=parent, change=back, message=message, at=deps.clock.now())
    again = must(transition(deps, proposal, RevertReplanned(parent=parent, commit=commit), actor=SYSTEM))
    assert again.application is not None
    return again, again.application


def _abort(deps: Deps, proposal: Proposal, why: str, still: Sequence[str]) -> None:
    """Note that the files could not be had; of an automatic revert also what became of the processes."""
    assert proposal.application is not None
    reason = why
    if proposal.application.automatic_revert:
        live = "; ".join(still) or "running processes were brought back"
        reason = f"{live}, but files were not: {why}; a person must decide"
    must(transition(deps, proposal, RevertAborted(reason=reason), actor=SYSTEM))


def _moved_on(deps: Deps, proposal: Proposal, drift: Sequence[Drift]) -> Denied:
    """Say which files moved on, and by which later proposals where these did it."""
    later = later_changes(deps, proposal, {item.path for item in drift})
    reasons = tuple(f"{item.path} is {item.problem} since the change was applied" for item in drift)
    if not later:
        hint = (
            "put your own changes of these files aside (commit them elsewhere or undo them), then revert again; "
            f"or look what a merge makes of it: `homeostat revert {proposal.id[:8]} --preview`"
        )
        return Denied(code="tree-moved-on", reasons=reasons, hint=hint)
    named = tuple(
        f"proposal {item.id} ({item.title}) was applied to it later, and is {item.state.value}" for item in later
    )
    commands = ", ".join(f"`homeostat revert {item.id[:8]}`" for item in (*later, proposal))
    return Denied(
        code="tree-moved-on",
        reasons=(*reasons, *named),
        hint=f"take the later change back first, in this order: {commands}; or look what is left of this one alone: "
        f"`homeostat revert {proposal.id[:8]} --preview`",
    )


def later_changes(deps: Deps, proposal: Proposal, paths: Set[str]) -> list[Proposal]:
    """Return the proposals in force that were applied to these files after this one, the last first."""
    assert proposal.application is not None
    since = proposal.application.at
    found = [
        (item.application.at, item)
        for item in moved_since(deps, since)
        if item.state in IN_FORCE
        and item.application is not None
        and item.application.at > since
        and not paths.isdisjoint(item.files)
    ]
    return [item for _, item in sorted(found, key=lambda pair: pair[0], reverse=True)]


def _message(proposal: Proposal, reason: str) -> str:
    return f'Revert "{proposal.title}"\n\n{reason}\n\nHomeostat-Reverts: {proposal.id}\n'
