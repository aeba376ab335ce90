"""Taking back a change that others were built upon: merged in three ways, shown first, and proved like any other.

`homeostat revert` puts back exactly the bytes that were there, and refuses where the files have moved on since. Then
what is left of the change can still be taken out: the commit that would undo it right after it was applied is merged
into the present head. Nobody has tried what comes of that, so it is a proposal, with its own proof and approval.
When it is live on all calls the change is *reverted*, and in force again when it is taken back itself
(`homeostat.flows.taking_out`).
An open proposal of the very same diff that somebody else handed in stands for itself, and marks no other.
"""

from dataclasses import dataclass

from homeostat.core.errors import Conflict
from homeostat.core.ids import CommitId, ProposalId
from homeostat.core.limits import MAX_TITLE_CHARS
from homeostat.flows.deps import Deps
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.reverting import kept_inverse, later_changes, stands
from homeostat.flows.transition import read
from homeostat.model.actor import Actor
from homeostat.model.change import FileState, TreeChange
from homeostat.model.proposal import Application, Proposal, ProposalState
from homeostat.model.verdict import Denied
from homeostat.ports.repository import Drift


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertPreview:
    """What taking a change back would do to the present head of the deployed branch."""

    head: CommitId
    drift: tuple[Drift, ...]
    """Files that are not as the change left them, in the branch or its checkout."""

    later: tuple[Proposal, ...]
    """Changes in force that were applied to these files since, the last one first."""

    diff: bytes
    """From the head to what it would become; empty: nothing of the change is left. Of a conflict it has both sides."""

    conflicts: tuple[str, ...]

    unseen: str = ""
    """Why the checkout could not be looked at, and a plain revert is refused; `drift` tells of the branch alone."""

    @property
    def exact(self) -> bool:
        """Whether a plain revert would put back exactly what was there, as far as can be seen now."""
        return not self.drift and not self.unseen


def preview(deps: Deps, proposal_id: ProposalId) -> RevertPreview | Denied:
    """Say what is left of an applied change, and what the head would be without it; nothing is moved."""
    proposal = read(deps, proposal_id)
    application = proposal.application
    head = deps.commits.head()
    if proposal.state is ProposalState.CANARY:
        return RevertPreview(head=head, drift=(), later=(), diff=b"", conflicts=())  # the branch never had it
    if application is None or not stands(proposal):
        return Denied(
            code="nothing-to-revert",
            reasons=(f"proposal {proposal.id} is {proposal.state.value}: nothing of it is applied",),
        )
    if not deps.commits.is_ancestor(application.commit, head):
        return Denied(
            code="not-in-branch",
            reasons=(f"the branch was rewritten: commit {application.commit[:12]} is not in it any more",),
            hint="propose a diff that undoes what is left of it",
        )
    back = kept_inverse(deps, proposal)
    undone = deps.deployed.prepare(
        parent=application.commit, change=back, message=f'Revert "{proposal.title}"', at=application.at
    )
    merged = deps.merger.merge(into=head, other=undone)
    drift, unseen = _drift(deps, back, head)
    return RevertPreview(
        head=head,
        drift=drift,
        later=tuple(later_changes(deps, proposal, {item.path for item in drift})),
        diff=merged.diff,
        conflicts=merged.conflicts,
        unseen=unseen,
    )


def propose_revert(deps: Deps, proposal_id: ProposalId, *, actor: Actor, reason: str) -> Proposal | Denied:
    """Hand in what the preview shows as a proposal of its own; refused where a person must merge first."""
    seen = preview(deps, proposal_id)
    if isinstance(seen, Denied):
        return seen
    proposal = read(deps, proposal_id)
    if seen.conflicts:
        return Denied(
            code="merge-conflict",
            reasons=tuple(f"{path} was changed since in the same place" for path in seen.conflicts),
            hint=f"`homeostat revert {proposal.id[:8]} --preview` shows both sides; propose a diff that merges them",
        )
    if not seen.diff:
        return Denied(code="nothing-to-revert", reasons=(f"nothing of proposal {proposal.id} is left in the branch",))
    try:
        diff = seen.diff.decode("utf-8")
    except UnicodeDecodeError:
        return Denied(code="diff-not-text", reasons=("what is left is not UTF-8 text, and no diff can be made of it",))
    assert proposal.application is not None
    wanted = Submission(
        title=f"Take back: {proposal.title}"[:MAX_TITLE_CHARS],
        rationale=_rationale(proposal, proposal.application, reason),
        diff=diff,
        base_commit=seen.head,
        category=proposal.category,
        severity=proposal.severity,
    )
    return submit(deps, wanted, actor=actor, takes_back=proposal.id)


def _drift(deps: Deps, back: TreeChange, head: CommitId) -> tuple[tuple[Drift, ...], str]:
    """Return what is not as the change left it; with a reason where only the branch could be looked at."""
    try:
        return tuple(deps.deployed.drift(back)), ""
    except Conflict as error:  # another branch is checked out: what stands in the deployed one is shown all the same
        left = {item.old_path: item.before for item in back.files if item.before is not None}
        held = deps.commits.read_files(head, back.touched_paths)
        moved = [(path, found) for path, found in held.items() if found != left.get(path)]
        drift = tuple(Drift(path=path, problem=_problem(found, left.get(path))) for path, found in moved)
        return drift, error.message


def _problem(held: FileState | None, left: FileState | None) -> str:
    if held is None:
        return "missing"
    return "unexpected" if left is None else "modified"


def _rationale(proposal: Proposal, application: Application, reason: str) -> str:
    asked = f"{reason.strip()}\n\n" if reason.strip() else ""
    return (
        f"{asked}Takes proposal {proposal.id} ({proposal.title}) out of the branch, which has gone on since it was "
        f"applied as {application.commit[:12]}. Merged in three ways: what came later stays."
    )
