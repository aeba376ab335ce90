"""What becomes a finding, what does not, and what a person reads of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from homeostat.core.digests import Digest
from homeostat.core.ids import CommitId
from homeostat.improvement.findings import decide, evidence, evidence_of_changes, finding_id_of, title
from homeostat.model.finding import CodeLocation, ErrorGroup, ErrorOccurrence, Finding, FindingState
from homeostat.model.proposal import Application, Proposal, ProposalState
from homeostat.testing.example_rows import example_proposal

NOW = datetime(2026, 1, 10, 14, 32, tzinfo=UTC)
KEY = Digest("sha256:" + "0123456789abcdef" * 4)
HERE = CodeLocation(path="orders/pricing.py", function="total", line=17)
COMMIT = CommitId("9b2118d0c1f4ab0116e0d91c2e0d4ab0116f00aa")


def occurrence(at: datetime = NOW, route: str = "/orders/{id}") -> ErrorOccurrence:
    return ErrorOccurrence(
        at=at,
        severity="error",
        logger="orders",
        exception_type="KeyError",
        message="'total'",
        location=HERE,
        commit=COMMIT,
        process_id="p",
        trace=(CodeLocation(path="orders/app.py", function="get", line=5), HERE),
        route=route,
    )


def group(count: int, severity: str = "error") -> ErrorGroup:
    return ErrorGroup(
        key=KEY,
        exception_type="KeyError",
        message_template="<*>",
        location=HERE,
        severity=severity,
        count=count,
        first_at=NOW - timedelta(minutes=5),
        last_at=NOW,
        commit=COMMIT,
        samples=(occurrence(), occurrence(NOW - timedelta(minutes=1), route="/totals")),
    )


def finding(count: int = 3, state: FindingState = FindingState.OPEN) -> Finding:
    made = decide(group(count), floor=3, now=NOW - timedelta(hours=1), existing=None)
    assert made is not None
    return replace(made, state=state)


@pytest.mark.parametrize(
    ("count", "severity", "floor"),
    [(1, "error", 3), (2, "error", 3), (3, "warning", 3), (29, "warning", 3), (9, "warning", 1), (99, "error", 100)],
)
def test_below_the_floor_nothing_is_found(count: int, severity: str, floor: int) -> None:
    assert decide(group(count, severity), floor=floor, now=NOW, existing=None) is None


@pytest.mark.parametrize(
    ("count", "severity", "floor"),
    [(3, "error", 3), (1, "critical", 3), (1, "critical", 1_000_000), (30, "warning", 3), (1, "error", 1)],
)
def test_at_the_floor_or_when_critical_it_is_found(count: int, severity: str, floor: int) -> None:
    made = decide(group(count, severity), floor=floor, now=NOW, existing=None)
    assert made is not None
    assert (made.id, made.state, made.severity, made.found_at) == (
        "f-0123456789abcdef",
        FindingState.OPEN,
        severity,
        NOW,
    )
    assert made.id == finding_id_of(KEY)


def test_an_open_finding_that_occurs_again_is_nothing_new() -> None:
    assert decide(group(1000), floor=3, now=NOW, existing=finding()) is None


def test_an_open_finding_takes_a_higher_severity_and_keeps_its_time() -> None:
    existing = finding()
    changed = decide(group(4, "critical"), floor=3, now=NOW, existing=existing)
    assert changed is not None
    assert (changed.severity, changed.found_at, changed.state) == ("critical", existing.found_at, FindingState.OPEN)


def test_a_resolved_finding_that_occurs_again_is_open_again() -> None:
    again = decide(group(4), floor=3, now=NOW, existing=finding(state=FindingState.RESOLVED))
    assert again is not None
    assert (again.state, again.found_at, again.group.count) == (FindingState.OPEN, NOW, 4)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "KeyError in orders/pricing.py: total()"),
        ({"exception_type": "orders.errors.PriceError"}, "PriceError in orders/pricing.py: total()"),
        (
            {"exception_type": "", "message_template": "cache <*> is down"},
            "cache <*> is down in orders/pricing.py: total()",
        ),
        ({"location": CodeLocation(path="", function="", line=0)}, "KeyError on /orders/{id}, /totals"),
        ({"location": CodeLocation(path="", function="total", line=3)}, "KeyError in total()"),
        ({"exception_type": "", "message_template": ""}, "error in orders/pricing.py: total()"),
    ],
)
def test_the_title_says_what_and_where(changes: dict[str, object], expected: str) -> None:
    assert title(replace(group(3), **changes)) == expected


def test_a_title_is_one_bounded_line() -> None:
    text = title(replace(group(3), exception_type="", message_template="a\nb " * 500))
    assert len(text) <= 120
    assert "\n" not in text


def test_the_evidence_names_count_times_place_sample_and_routes() -> None:
    assert evidence(finding()) == (
        "3 occurrences, first 2026-01-10 14:27:00+00:00, last 2026-01-10 14:32:00+00:00",
        "at orders/pricing.py:17 in total(), commit 9b2118d0c1f4",
        "message: <*>",
        "sample: KeyError: 'total'",
        "through: orders/app.py:5 get() > orders/pricing.py:17 total()",
        "routes: /orders/{id}, /totals",
        "template 0123456789ab",
    )


def test_evidence_without_place_samples_or_message_says_less_and_makes_nothing_up() -> None:
    bare = replace(
        group(3), samples=(), message_template="", location=CodeLocation(path="", function="", line=0), commit=None
    )
    assert evidence(replace(finding(), group=bare)) == (
        "3 occurrences, first 2026-01-10 14:27:00+00:00, last 2026-01-10 14:32:00+00:00",
        "message: (empty)",
        "template 0123456789ab",
    )


def test_the_title_of_an_error_without_a_place_names_its_routes() -> None:
    nowhere = CodeLocation(path="", function="", line=0)
    answered = replace(
        group(3), exception_type="", message_template="Internal Server Error was answered", location=nowhere
    )
    assert title(answered) == "Internal Server Error was answered on /orders/{id}, /totals"
    assert title(replace(answered, samples=())) == "Internal Server Error was answered"


def change(number: int, state: ProposalState, *, began_s: float, ended_s: float = 0, **changes: object) -> Proposal:
    at = NOW - timedelta(minutes=5) + timedelta(seconds=began_s)
    applied = Application(before_commit=COMMIT, commit=COMMIT, backup="b", at=at)
    return example_proposal(
        number,
        state=state,
        application=applied,
        files=("orders/pricing.py",),
        updated_at=NOW - timedelta(minutes=5) + timedelta(seconds=ended_s),
        **changes,
    )


def test_a_change_that_ran_when_an_error_was_first_seen_is_named_with_what_became_of_it() -> None:
    tried = change(1, ProposalState.CANARY, began_s=-20)
    (line,) = evidence_of_changes(finding(), [tried])
    assert line == f"first seen while proposal {tried.id[:8]} ran ({tried.title}; canary), of the same file"
    back = change(2, ProposalState.REVERTED, began_s=-10, ended_s=40)
    (line,) = evidence_of_changes(finding(), [tried, back])
    assert back.id[:8] in line and "; was taken back since)" in line


@pytest.mark.parametrize(
    "innocent",
    [
        change(1, ProposalState.CANARY, began_s=20),
        change(1, ProposalState.REVERTED, began_s=-60, ended_s=-30),
        change(1, ProposalState.IMPLEMENTED, began_s=-60, ended_s=30),
        replace(change(1, ProposalState.CANARY, began_s=-20), files=("orders/app.py",)),
        replace(change(1, ProposalState.PENDING, began_s=-20), application=None),
    ],
    ids=["began later", "was over", "passed", "of another file", "never ran"],
)
def test_no_other_change_is_named(innocent: Proposal) -> None:
    assert evidence_of_changes(finding(), [innocent]) == ()


def test_proposals_for_it_are_named() -> None:
    fix = example_proposal(3, state=ProposalState.AWAITING_APPROVAL, finding_id=finding().id)
    assert evidence_of_changes(finding(), [fix]) == (f"proposal {fix.id[:8]} is for it: awaiting approval",)
