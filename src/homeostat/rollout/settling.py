"""After a restoration from an older backup: what Git shows of each change, and what the row must say then.

Git is asked, because it was not restored. Where the row is behind Git, Git is followed:

1. Applied in the row, taken back in the branch: the row becomes *reverted*.
2. Applied in the row, its commit gone from the branch: *failed*; nothing of it is live after a restart.
3. Not applied in the row, its commit in the branch: *awaiting_restart*, so that it is watched again. Its
   approval was lost, and whoever restores answers for it.
4. Not applied in the row, applied and taken back in the branch: *reverted*, so that it stays locked out.
5. Under way in the row: left to the hub, which goes on from there; taken back in the branch: as 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from homeostat.core.ids import CommitId
from homeostat.model.proposal import Application, Proposal, ProposalState, Review
from homeostat.proposals.events import Restored
from homeostat.rollout.invariants import APPLIED

S = ProposalState


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedCommit:
    """A commit of the deployed branch that carries a change, or takes one back."""

    commit: CommitId
    parent: CommitId
    title: str
    proposal: str
    change_digest: str
    reverts: str
    """The proposal that it takes back; empty for one that applies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the deployed branch shows of one change. Commits are None where there is none."""

    applied: CommitId | None = None
    """The commit that carries the change as the row has it."""

    applied_on: CommitId | None = None
    reverted: CommitId | None = None
    """The commit that took it back, after it."""

    reverted_on: CommitId | None = None


def evidence_of(row: Proposal, commits: Sequence[AppliedCommit]) -> Evidence:
    """Read what the branch shows of this row; `commits` are those of the branch, newest first."""
    reverted: AppliedCommit | None = None
    for item in commits:
        if item.reverts == row.id:
            reverted = reverted or item
        elif item.proposal == row.id and item.change_digest == row.change.change_digest:
            return Evidence(
                applied=item.commit,
                applied_on=item.parent,
                reverted=reverted.commit if reverted else None,
                reverted_on=reverted.parent if reverted else None,
            )
    return Evidence()


def settle(row: Proposal, seen: Evidence, *, review: Review, backup: str, at: datetime) -> Sequence[Restored]:
    """Return the events that bring the row to what Git shows; empty when it is there. `backup` names the snapshot."""
    return tuple(_events(row, seen, review, backup, at))


def _events(row: Proposal, seen: Evidence, review: Review, backup: str, at: datetime) -> Iterator[Restored]:
    if row.state is S.REVERTED:
        return
    application = row.application if row.state in (*APPLIED, S.APPLYING, S.REVERTING) else None
    if application is not None:
        if seen.reverted is not None and row.state is not S.REVERTING:
            yield Restored(
                state=S.REVERTED,
                reason=f"Git shows that it was taken back (commit {seen.reverted[:12]})",
                application=_taken_back(application, seen, at),
            )
        elif seen.applied is None and row.state in APPLIED:
            yield Restored(
                state=S.FAILED,
                reason=f"its commit {application.commit[:12]} is not in the branch any more; nothing of it is applied",
            )
        return
    if seen.applied is None or seen.applied_on is None:
        return
    yield Restored(
        state=S.APPROVED,
        reason="Git shows that it was applied after the backup; whoever restored answers for it",
        review=review,
    )
    found = Application(
        before_commit=seen.applied_on, commit=seen.applied, backup=backup, at=at, live=False, live_detail="restored"
    )
    if seen.reverted is None:
        reason = "applied on disk, as Git shows; restart the program, and it is watched again"
        yield Restored(state=S.AWAITING_RESTART, reason=reason, application=found)
    else:
        reason = f"Git shows that it was applied, and taken back (commit {seen.reverted[:12]})"
        yield Restored(state=S.REVERTED, reason=reason, application=_taken_back(found, seen, at))


def _taken_back(application: Application, seen: Evidence, at: datetime) -> Application:
    return replace(
        application,
        reverting_at=at,
        reverting_from=S.OBSERVING,
        revert_parent=seen.reverted_on,
        revert_commit=seen.reverted,
        revert_reason="taken back after the backup",
    )
