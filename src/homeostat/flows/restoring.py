"""Settling the rows of a restored store by what Git shows; see `homeostat.rollout.settling` for the rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from homeostat.core.errors import InvalidInput
from homeostat.flows.transition import read_all
from homeostat.model.actor import Actor
from homeostat.model.change import TreeChange
from homeostat.model.ledger import EntryDraft
from homeostat.model.proposal import Proposal, Review
from homeostat.model.verdict import Denied
from homeostat.ports.repository import BackupStore, CommitReader
from homeostat.ports.store import ProposalStore
from homeostat.proposals.events import Restored
from homeostat.proposals.lifecycle import step
from homeostat.rollout.settling import AppliedCommit, evidence_of, settle
from homeostat.validation.patch import parse_patch
from homeostat.validation.resolve import resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of the rows, in words, and what no row knows."""

    rows: Sequence[str]
    unknown: Sequence[str]
    """Changes that are in the branch, and whose proposals were lost."""


def reconcile(
    *,
    proposals: ProposalStore,
    backups: BackupStore,
    commits: CommitReader,
    applied: Sequence[AppliedCommit],
    moved_since: Mapping[str, str],
    by: Actor,
    at: datetime,
) -> Settled:
    """Bring every row to what the branch shows, each step with its ledger entry.

    `moved_since` names the proposals that Git recorded after the backup, with their last status there:
    a row that needs no settling is noted as restored all the same, so that its record is made anew.
    """
    rows = read_all(proposals)
    said = []
    for row in rows:
        seen = evidence_of(row, applied)
        name = f"{at.strftime('%Y%m%dT%H%M%SZ')}/{row.id}"
        review = Review(
            by=by.id,
            at=at,
            decision="approved",
            change_digest=row.change.change_digest,
            notes="found applied in Git when a backup was restored",
            unreviewed=True,
        )
        events = list(settle(row, seen, review=review, backup=name, at=at))
        if any(event.application is not None and event.application.backup == name for event in events):
            _keep_snapshot(row, name, backups, commits)
        if not events and row.id in moved_since:
            reason = f"restored from a backup; Git recorded it as {moved_since[row.id]} after that, which is lost"
            events.append(Restored(state=row.state, reason=reason))
        if events:
            said.append(_carry_out(proposals, row, events, by, at))
    known = {str(row.id) for row in rows}
    taken_back = {item.reverts for item in applied}
    unknown = [
        f"{item.commit[:12]} {item.title}: git revert {item.commit[:12]} takes it back"
        for item in applied
        if item.proposal and item.proposal not in known and item.proposal not in taken_back
    ]
    return Settled(rows=said, unknown=unknown)


def _carry_out(proposals: ProposalStore, row: Proposal, events: Sequence[Restored], by: Actor, at: datetime) -> str:
    before = row.state
    for event in events:
        outcome = step(row, event, at=at)
        assert not isinstance(outcome, Denied), outcome.reasons
        entry = EntryDraft(kind=outcome.kind, actor=by.id, subject=row.id, body=outcome.facts)
        row = proposals.save(outcome.proposal, entry)
    return f"{row.id} was {before.value}, is {row.state.value}: {row.state_reason}"


def _keep_snapshot(row: Proposal, name: str, backups: BackupStore, commits: CommitReader) -> None:
    """Make the snapshot of an applied change again, from the diff and its base; Git has both."""
    change = _change(row, commits)
    backups.save(
        name=name,
        change=change,
        facts={
            "proposal": row.id,
            "base_commit": row.change.base_commit,
            "change_digest": row.change.change_digest,
        },
    )


def _change(row: Proposal, commits: CommitReader) -> TreeChange:
    patch = parse_patch(row.diff.encode("utf-8"))
    if isinstance(patch, Denied):
        raise InvalidInput("diff-altered", patch.reasons[0])
    base = row.change.base_commit
    change = resolve(patch, commits.read_files(base, patch.paths), tree_paths=commits.list_files(base))
    if isinstance(change, Denied):
        raise InvalidInput("diff-altered", change.reasons[0])
    return change
