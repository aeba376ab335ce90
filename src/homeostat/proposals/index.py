"""``proposals/index.md``: how many proposals there are of each kind, and where each one is.

Newest first. The table is bounded; older proposals are reached through the folder of their month,
which is listed with its count, so that the page stays readable with thousands.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from homeostat.core.ids import ProposalId
from homeostat.model.proposal import STATUS_OF, Category, Proposal, ProposalState, Severity
from homeostat.proposals.escape import inline
from homeostat.proposals.markdown import record_path

INDEX_PATH = "proposals/index.md"
MAX_TABLE_ROWS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRow:
    """What the listing says of one proposal; small, so that thousands fit in memory."""

    id: ProposalId
    title: str
    created_at: datetime
    status: str
    state: ProposalState
    category: Category
    severity: Severity
    path: str


def row_of(proposal: Proposal) -> IndexRow:
    """Return the listing's row for a proposal."""
    return IndexRow(
        id=proposal.id,
        title=proposal.title,
        created_at=proposal.created_at,
        status=proposal.status,
        state=proposal.state,
        category=proposal.category,
        severity=proposal.severity,
        path=record_path(proposal),
    )


def render_index(rows: Iterable[IndexRow]) -> bytes:
    """Return the page for all proposals there are. The same rows, in any order, give the same bytes."""
    ordered = sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True)
    shown, older = ordered[:MAX_TABLE_ROWS], ordered[MAX_TABLE_ROWS:]
    parts = [
        "# Proposals",
        "Generated from the store; changes made here by hand are overwritten.",
        f"## Statistics\n\n{_statistics(ordered)}",
        f"## Listing\n\n{_table(shown)}",
    ]
    if older:
        parts.append(f"## Older\n\n{_months(older)}")
    return ("\n\n".join(parts) + "\n").encode("utf-8", "replace")


def _statistics(rows: Sequence[IndexRow]) -> str:
    decided = [row for row in rows if row.status in ("approved", "implemented", "reverted", "rejected", "failed")]
    agreed = [row for row in decided if row.status != "rejected"]
    share = f"{len(agreed) * 100 // len(decided)} % of {len(decided)} decided" if decided else "nothing decided yet"
    lines = [f"- Total: {len(rows)}", f"- Approved: {share}"]
    for what, names, counts in (
        ("status", list(dict.fromkeys(STATUS_OF.values())), Counter(row.status for row in rows)),
        ("category", [item.value for item in Category], Counter(row.category.value for row in rows)),
        ("severity", [item.value for item in Severity], Counter(row.severity.value for row in rows)),
    ):
        said = ", ".join(f"{name} {counts[name]}" for name in names if counts[name])
        lines.append(f"- By {what}: {said or 'none'}")
    return "\n".join(lines)


def _table(rows: Sequence[IndexRow]) -> str:
    if not rows:
        return "No proposals yet."
    lines = ["| Created | Status | Severity | Category | Proposal |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        status = row.status if row.status == row.state.value else f"{row.status} ({row.state.value})"
        link = f"[{inline(row.title) or row.id}]({row.path.removeprefix('proposals/')})"
        lines.append(f"| {_day(row)} | {status} | {row.severity.value} | {row.category.value} | {link} |")
    return "\n".join(lines)


def _months(rows: Sequence[IndexRow]) -> str:
    folders = Counter(row.path.removeprefix("proposals/").rpartition("/")[0] for row in rows)
    return "\n".join(f"- [{folder}]({folder}/): {folders[folder]}" for folder in sorted(folders, reverse=True))


def _day(row: IndexRow) -> str:
    return row.created_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
