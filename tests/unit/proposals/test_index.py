"""The listing: every proposal can be reached, newest first, however many there are."""

import os
import random
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from builders import proposal

from homeostat.core.ids import ProposalId
from homeostat.model.proposal import Category, ProposalState, Severity, Tally
from homeostat.proposals.index import MAX_TABLE_ROWS, IndexRow, render_index, row_of
from homeostat.proposals.markdown import record_path

GOLDEN = Path(__file__).parents[2] / "golden" / "index.md"
AT = datetime(2026, 1, 10, tzinfo=UTC)


def rows(count: int) -> list[IndexRow]:
    return [
        row_of(
            proposal(
                id=ProposalId(f"{number:08x}-0000-4000-8000-000000000000"),
                title=f"Number {number}",
                created_at=AT + timedelta(hours=number),
            )
        )
        for number in range(count)
    ]


def page_of(listed: list[IndexRow]) -> bytes:
    """The page where these are all there are."""
    counted = Counter((row.path[len("proposals/") :][:7], row.state, row.category, row.severity) for row in listed)
    tallies = [
        Tally(month=month, state=state, category=category, severity=severity, count=count)
        for (month, state, category, severity), count in counted.items()
    ]
    return render_index(listed, tallies)


def test_no_proposals_are_said_to_be_none() -> None:
    page = page_of([]).decode()
    assert "Total: 0" in page
    assert "No proposals yet." in page
    assert "nothing decided yet" in page


def test_the_page_is_as_it_was_agreed() -> None:
    """Set RENEW_GOLDEN=1 to write what is rendered now, then read the difference."""
    same_time = [
        row_of(
            proposal(
                id=ProposalId(f"{number:08x}-0000-4000-8000-000000000000"),
                title="" if number == 1 else f"Number {number}",
                created_at=AT,
                state=state,
            )
        )
        for number, state in enumerate((ProposalState.PENDING, ProposalState.REVERTED, ProposalState.OBSERVING))
    ]
    tallies = [
        Tally(month=month, state=state, category=Category.BUGFIX, severity=Severity.LOW, count=count)
        for month in ("2025/12", "2026/01")
        for count, state in enumerate(ProposalState, start=1)
    ]
    page = render_index(same_time, tallies)
    if os.environ.get("RENEW_GOLDEN"):
        GOLDEN.write_bytes(page)
    assert page == GOLDEN.read_bytes()


def test_a_title_that_is_no_text_can_still_be_listed() -> None:
    assert b"| [" in page_of([replace(rows(1)[0], path="proposals/\udcff.md")])


def test_newest_first_with_a_link_to_each_record() -> None:
    page = page_of(rows(3)).decode()
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert [link.split("/")[2][:8] for link in links] == ["00000002", "00000001", "00000000"]
    assert f"proposals/{links[0]}" == record_path(
        proposal(id=ProposalId("00000002-0000-4000-8000-000000000000"), title="Number 2", created_at=AT)
    )


def test_the_order_of_the_rows_does_not_matter() -> None:
    shuffled = rows(50)
    random.Random(7).shuffle(shuffled)
    assert page_of(shuffled) == page_of(rows(50))


def test_statistics_count_by_the_words_of_the_source_document() -> None:
    some = [
        replace(rows(1)[0], state=state, status=status, category=category, severity=severity)
        for state, status, category, severity in (
            (ProposalState.OBSERVING, "approved", Category.BUGFIX, Severity.CRITICAL),
            (ProposalState.IMPLEMENTED, "implemented", Category.BUGFIX, Severity.LOW),
            (ProposalState.REJECTED, "rejected", Category.OPTIMIZATION, Severity.LOW),
            (ProposalState.PENDING, "pending", Category.ENHANCEMENT, Severity.LOW),
        )
    ]
    page = page_of(some).decode()
    assert "- Total: 4\n" in page
    assert "- Approved: 66 % of 3 decided\n" in page
    assert "- By status: pending 1, approved 1, implemented 1, rejected 1\n" in page
    assert "- By category: bugfix 2, optimization 1, enhancement 1\n" in page
    assert "- By severity: critical 1, low 3\n" in page
    assert "| approved (observing) |" in page
    assert "| implemented |" in page


def test_a_title_cannot_break_the_table_or_the_link() -> None:
    page = page_of([replace(rows(1)[0], title="x](http://evil) | y\n| z | <b>`")]).decode()
    line = next(line for line in page.splitlines() if "evil" in line)
    assert line.endswith("](2026/01/00000000-0000-4000-8000-000000000000-number-0.md) |")
    assert "\\](http://evil) \\| y \\| z \\| &lt;b&gt;\\`" in line


def test_thousands_are_listed_in_a_bounded_page_that_still_leads_to_each() -> None:
    many = rows(5000)
    page = page_of(many)
    text = page.decode()
    assert len(page) < 200_000
    assert text.count("\n| 20") == MAX_TABLE_ROWS
    months = re.findall(r"- \[(\d{4}/\d\d)\]\(\1/\): (\d+)", text)
    assert sum(int(count) for _, count in months) == 5000
    assert [month for month, _ in months] == sorted((month for month, _ in months), reverse=True)
