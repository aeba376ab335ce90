"""``proposals/index.md``: how many proposals there are of each kind, and where each one is.

Newest first. The table is bounded; older proposals are reached through the folder of their month,
which is listed with its count: the page stays readable, and as quickly made, with a hundred thousand.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from homeostat.core.ids import ProposalId
from homeostat.model.proposal import STATUS_OF, Category, Proposal, ProposalState, Severity, Tally
from homeostat.proposals.escape import inline
from homeostat.proposals.markdown import record_path

INDEX_PATH = "proposals/index.md"
MAX_TABLE_ROWS = 100


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


def render_index(newest: Iterable[IndexRow], tallies: Sequence[Tally]) -> bytes:
    """Return the page: the newest rows (more than `MAX_TABLE_ROWS` are cut), and the counts of all there are.

    The same rows and counts, in any order, give the same bytes.
    """
    shown = sorted(newest, key=lambda row: (row.created_at, row.id), reverse=True)[:MAX_TABLE_ROWS]
    parts = [
        "# Proposals",
        "Generated from the store; changes made here by hand are overwritten.",
        f"## Statistics\n\n{_statistics(tallies)}",
        f"## Listing\n\n{_table(shown)}",
    ]
    if sum(tally.count for tally in tallies) > len(shown):
        parts.append(f"## By month\n\n{_months(tallies)}")
    return ("\n\n".join(parts) + "\n").encode("utf-8", "replace")


def _statistics(tallies: Sequence[Tally]) -> str:
    by_status = _counted((STATUS_OF[tally.state], tally) for tally in tallies)
    decided = sum(by_status[word] for word in ("approved", "implemented", "reverted", "rejected", "failed"))
    agreed = decided - by_status["rejected"]
    share = f"{agreed * 100 // decided} % of {decided} decided" if decided else "nothing decided yet"
    lines = [f"- Total: {by_status.total()}", f"- Approved: {share}"]
    for what, names, counts in (
        ("status", list(dict.fromkeys(STATUS_OF.values())), by_status),
        ("category", [item.value for item in Category], _counted((tally.category.value, tally) for tally in tallies)),
        ("severity", [item.value for item in Severity], _counted((tally.severity.value, tally) for tally in tallies)),
    ):
        said = ", ".join(f"{name} {counts[name]}" for name in names if counts[name])
        lines.append(f"- By {what}: {said or 'none'}")
    return "\n".join(lines)


def _counted(named: Iterable[tuple[str, Tally]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for name, tally in named:
        counts[name] += tally.count
    return counts


def _table(rows: Sequence[IndexRow]) -> str:
    if not rows:
        return "No proposals yet."
    lines = ["| Created | Status | Severity | Category | Proposal |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        status = row.status if row.status == row.state.value else f"{row.status} ({row.state.value})"
        link = f"[{inline(row.title) or row.id}]({row.path.removeprefix('proposals/')})"
        lines.append(f"| {_day(row)} | {status} | {row.severity.value} | {row.category.value} | {link} |")
    return "\n".join(lines)


def _months(tallies: Sequence[Tally]) -> str:
    months = _counted((tally.month, tally) for tally in tallies)
    return "\n".join(f"- [{month}]({month}/): {months[month]}" for month in sorted(months, reverse=True))


def _day(row: IndexRow) -> str:
    return row.created_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
