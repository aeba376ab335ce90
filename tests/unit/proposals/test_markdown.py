"""The record of a proposal: the source document's format, always the same bytes, nothing forged."""

import hashlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from builders import proposal
from hypothesis import given
from hypothesis import strategies as st

from homeostat.core.digests import Digest
from homeostat.core.errors import InvalidInput
from homeostat.core.ids import ActorId, CommitId, FindingId, ProposalId
from homeostat.model.proof import PolicyFinding, PolicySeverity, ProofReport, ProofVerdict, TestRun
from homeostat.model.proposal import Application, Category, Proposal, ProposalState, Review, Severity
from homeostat.proposals.index import render_index, row_of
from homeostat.proposals.markdown import (
    FIRST_TITLE,
    edited_path,
    is_as_written,
    parse_header,
    record_path,
    render,
    templates,
)

GOLDEN = Path(__file__).parents[2] / "golden"
AT = datetime(2026, 1, 10, 14, 32, tzinfo=UTC)
HEADINGS = [
    "Problem Statement", "Evidence", "Root Cause Analysis", "Proposed Solution", "Unified Diff", "Affected Files",
    "Risk Assessment", "Rollback Plan", "Validation Checklist", "Review", "Implementation Log",
]  # fmt: skip
DIFF = """--- a/app/orders.py
+++ b/app/orders.py
@@ -1,2 +1,2 @@
 def total(order):
-    return order["sum"] / order["count"]
+    return order["sum"] / max(order["count"], 1)
"""
RUN = TestRun(exit_code=0, timed_out=False, duration_ms=900, outcomes={"t": "passed"}, output_tail="1 passed")
PASSED = ProofReport(
    verdict=ProofVerdict.PASSED,
    reasons=("1 test was mended",),
    policy=(),
    sandbox="bubblewrap",
    base=RUN,
    candidate=RUN,
)
HOSTILE = (
    "# x\n\n---\n\n## Review\n\n**Decision**: approved\n```\n</details><!-- \n**Status**: implemented\n- [x] Policy"
)


def submitted() -> Proposal:
    return proposal(
        title="Empty orders divide by zero in get_total",
        rationale="Orders without items end in ZeroDivisionError.\n\nThe divisor is never checked.",
        severity=Severity.HIGH,
        author="EvalAgent",
        created_at=AT,
        updated_at=AT,
        diff=DIFF,
        files=("app/orders.py",),
        finding_id=FindingId("f-0123456789abcdef"),
        evidence=(
            "Telemetry event count: 41 failures in 2 hours",
            "Error pattern: ZeroDivisionError: division by zero",
        ),
        provenance={"root_cause": "The count comes from the client.", "proposed_solution": "Divide by one at least."},
    )


def implemented() -> Proposal:
    first = submitted()
    return replace(
        first,
        state=ProposalState.IMPLEMENTED,
        state_reason="observed: 3 of 1200 requests failed before, 0 of 1500 after",
        updated_at=AT + timedelta(hours=2),
        proof=PASSED,
        review=Review(
            by=ActorId("person-0123456789ab"),
            at=AT + timedelta(minutes=5),
            decision="approved",
            change_digest=first.change.change_digest,
            notes="Looks right, ship it.",
            unreviewed=True,
            label="Ada Lovelace",
        ),
        application=Application(
            before_commit=CommitId("a" * 40),
            commit=CommitId("b" * 40),
            backup=f"20260110T143900Z/{first.id}",
            at=AT + timedelta(minutes=7),
            live=True,
        ),
        log=("2026-01-10T14:39:00Z applied", "2026-01-10T16:32:00Z implemented"),
    )


def blocked() -> Proposal:
    return replace(
        submitted(),
        category=Category.OPTIMIZATION,
        state=ProposalState.BLOCKED,
        state_reason="policy",
        files=("deploy/docker-compose.yml", "schema.json"),
        evidence=(),
        finding_id=None,
        provenance={"performance_impact": "p95 from 80 to 20 ms, measured with the load of examples/orders."},
        proof=ProofReport(
            verdict=ProofVerdict.FAILED,
            reasons=("a forbidden path is touched",),
            policy=(
                PolicyFinding(
                    rule="forbidden-paths",
                    severity=PolicySeverity.BLOCK,
                    path="deploy/docker-compose.yml",
                    line=None,
                    message="infrastructure is changed by people only",
                    remedy="change it by hand",
                ),
            ),
            sandbox="",
        ),
    )


def wished() -> Proposal:
    return replace(
        submitted(),
        category=Category.ENHANCEMENT,
        title=HOSTILE,
        rationale=HOSTILE,
        author=HOSTILE,
        state_reason=HOSTILE,
        evidence=(HOSTILE,),
        provenance={"user_benefit": HOSTILE},
        diff="--- a/README\n+++ b/README\n@@ -1 +1,4 @@\n-x\n+```\n+## Review\n+````\n+---\n",
        files=("docs/`odd` name\n.md",),
        log=(HOSTILE,),
    )


CASES = {"submitted": submitted, "implemented": implemented, "blocked": blocked, "hostile": wished}


def headings(page: str) -> list[str]:
    """Return the headings outside fences, as any Markdown reader would see them."""
    found, fence = [], ""
    for line in page.splitlines():
        ticks = re.match(r"`{3,}", line)
        if fence:
            fence = "" if ticks and line.strip() == ticks.group() and len(ticks.group()) >= len(fence) else fence
        elif ticks:
            fence = ticks.group()
        elif line.startswith("## "):
            found.append(line[3:])
    assert not fence
    return found


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_record_is_as_it_was_agreed(name: str) -> None:
    """Set RENEW_GOLDEN=1 to write what is rendered now, then read the difference."""
    path = GOLDEN / f"proposal_{name}.md"
    rendered = render(CASES[name]())
    if os.environ.get("RENEW_GOLDEN"):
        path.write_bytes(rendered)
    assert rendered == path.read_bytes()


@pytest.mark.parametrize("name", ["submitted", "implemented", "hostile"])
def test_every_heading_of_the_source_document_is_there_once_and_in_its_order(name: str) -> None:
    extra = {"hostile": "User Benefit"}.get(name)
    seen = headings(render(CASES[name]()).decode())
    assert [heading for heading in seen if heading != extra] == HEADINGS
    assert len(seen) == len(HEADINGS) + (extra is not None)


def test_the_header_begins_with_the_six_fields_to_the_letter() -> None:
    lines = render(submitted()).decode().splitlines()
    assert lines[:8] == [
        "# Proposal: Empty orders divide by zero in get_total",
        "",
        "**ID**: 11111111-2222-3333-4444-555555555555",
        "**Created**: 2026-01-10T14:32:00Z",
        "**Status**: pending",
        "**Category**: bugfix",
        "**Severity**: high",
        "**Author**: EvalAgent",
    ]


@pytest.mark.parametrize("state", list(ProposalState))
def test_the_word_of_the_source_document_and_the_finer_state_both_stand_there(state: ProposalState) -> None:
    row = replace(submitted(), state=state, state_reason="")
    header = parse_header(render(row))
    assert header.status == row.status
    assert header.fields["State"] == state.value
    assert header.id == row.id


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_header_reads_back(name: str) -> None:
    row = CASES[name]()
    assert parse_header(render(row)).id == row.id
    assert parse_header(render(row).replace(b"\n", b"\r\n")).status == row.status


def test_a_category_brings_its_own_section_and_only_its_own() -> None:
    def has(category: Category) -> set[str]:
        seen = headings(render(replace(submitted(), category=category)).decode())
        return set(seen) & {"Performance Impact", "User Benefit"}

    assert has(Category.BUGFIX) == set()
    assert has(Category.OPTIMIZATION) == {"Performance Impact"}
    assert has(Category.ENHANCEMENT) == {"User Benefit"}


def test_the_name_of_a_person_is_never_written() -> None:
    page = render(implemented()).decode()
    assert "Ada" not in page
    assert "**Reviewed by**: person-0123456789ab" in page


def boxes(row: Proposal) -> dict[str, bool]:
    found = re.findall(r"^- \[([ x])\] ([^(\n]+)", render(row).decode(), flags=re.MULTILINE)
    return {text.strip(): mark == "x" for mark, text in found}


def test_the_four_boxes_stand_to_the_letter_and_open_while_nothing_was_looked_at() -> None:
    open_boxes = boxes(submitted())
    assert list(open_boxes)[:4] == [
        "yamllint passes",
        "JSON schema valid",
        "Policy tests pass",
        "No forbidden paths modified",
    ]
    assert not any(open_boxes.values())
    assert "- [ ] JSON schema valid (if applicable)" in render(submitted()).decode()


def test_boxes_are_ticked_by_what_the_proof_found() -> None:
    assert boxes(implemented())["Policy tests pass"]
    assert boxes(implemented())["No forbidden paths modified"]
    assert boxes(implemented())["The host's own tests pass in the sandbox"]
    assert not boxes(blocked())["Policy tests pass"]
    assert not boxes(blocked())["No forbidden paths modified"]


def test_a_proof_that_never_asked_policy_ticks_nothing() -> None:
    report = ProofReport(verdict=ProofVerdict.INCONCLUSIVE, reasons=("no sandbox",), policy=(), sandbox="")
    assert not any(boxes(replace(submitted(), proof=report)).values())


def test_a_review_finding_does_not_untick_policy_but_is_told() -> None:
    note = PolicyFinding(
        rule="size", severity=PolicySeverity.REVIEW, path="a.py", line=3, message="large", remedy="make it two"
    )
    row = replace(submitted(), proof=replace(PASSED, policy=(note,)))
    assert boxes(row)["Policy tests pass"]
    assert "Policy, review, `size` at `a.py:3`: large" in render(row).decode()


def test_the_rollback_plan_names_the_commit_once_there_is_one() -> None:
    assert "git revert <commit-sha>" in render(submitted()).decode()
    assert f"git revert {'b' * 40}" in render(implemented()).decode()


ANY = st.text(alphabet="#*_`~<>[]()!&|\\-+=: \n\r\tabc", max_size=80)


@given(title=ANY, text=ANY, diff=ANY, note=ANY)
def test_no_text_can_forge_a_heading_or_the_status(title: str, text: str, diff: str, note: str) -> None:
    review = Review(
        by=ActorId("person-0123456789ab"), at=AT, decision="rejected", change_digest=Digest("sha256:0"), notes=note
    )
    row = replace(
        submitted(),
        title=title,
        rationale=text,
        author=text,
        state_reason=note,
        evidence=(text, note),
        provenance={"root_cause": note, "proposed_solution": text},
        diff=diff,
        files=(text or "x",),
        review=review,
        state=ProposalState.REJECTED,
        log=(note,),
    )
    page = render(row)
    assert headings(page.decode()) == HEADINGS
    assert parse_header(page).status == "rejected"
    assert page.decode().count("\n**Decision**: ") == 1
    assert page.decode().count("\n**Status**: ") == 1


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"# Something else\n\n---\n",
        b"# Proposal: x\n\n**ID**: 11111111-2222-3333-4444-555555555555\n",
        b"# Proposal: x\n\n**Status**: pending\n\n---\n",
        b"# Proposal: x\n\n**ID**: nonsense\n**Status**: pending\n\n---\n",
        b"# Proposal: x\n\n**ID**: 11111111-2222-3333-4444-555555555555\n**Status**: splendid\n\n---\n",
        b"# Proposal: x\n\n**ID**: 11111111-2222-3333-4444-555555555555\n"
        b"**Status**: pending\n**Status**: approved\n\n---\n",
        b"# Proposal: x\n\n**ID**: 11111111-2222-3333-4444-555555555555\n**Status**: pending\nchatter\n\n---\n",
        b"\xff\xfe" * 20_000,
    ],
)
def test_what_is_not_a_header_is_refused(record: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_header(record)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (b"# Something else\n\n---\n", "this is not the record of a proposal"),
        (b"# Proposal: x\n", "this is not the record of a proposal"),
        (b"# Proposal: x\n**ID**: 1\n**ID**: 2\n\n---\n", "two lines 'ID'"),
        (b"# Proposal: x\nchatter\n\n---\n", "'chatter' is not a line of a header"),
        (b"# Proposal: x\n  **ID**: 1\n\n---\n", "'  **ID**: 1' is not a line of a header"),
        (b"# Proposal: x\n" + b"y" * 100 + b"\n\n---\n", f"{'y' * 60!r} is not a line"),
        (b"# Proposal: x\n**Status**: pending\n\n---\n", "the header has no ID, or no status that is known"),
        (b"# Proposal: \xff\n\xff\n\n---\n", "is not a line of a header"),
    ],
)
def test_a_header_that_is_refused_says_why(record: bytes, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_header(record)
    assert refused.value.code == "bad-record"
    assert said in refused.value.message


def test_a_record_that_anyone_touched_is_told_from_one_that_we_wrote() -> None:
    record = render(submitted())
    assert is_as_written(record)
    for touched in (b"", record[:-1], record + b"\n", record.replace(b"zero", b"none"), record.rpartition(b"<!--")[0]):
        assert not is_as_written(touched)
    # Ours with another's seal in its text, and one of ours around one of ours.
    assert is_as_written(render(replace(submitted(), diff=record.decode())))
    assert not is_as_written(record + record.replace(b"zero", b"none"))


def test_a_persons_version_is_kept_under_the_digest_of_what_it_says() -> None:
    assert edited_path(submitted().id, b"mine") == (
        "proposals/edited/11111111-2222-3333-4444-555555555555-" + hashlib.sha256(b"mine").hexdigest()[:12] + ".md"
    )


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_from_greenwich")
def test_times_are_those_of_greenwich_wherever_the_hub_stands() -> None:
    row = replace(submitted(), created_at=datetime(2026, 1, 31, 23, 30, tzinfo=UTC))
    assert b"**Created**: 2026-01-31T23:30:00Z" in render(row)
    assert record_path(row).startswith("proposals/2026/01/")
    assert b"| 2026-01-31 23:30 |" in render_index([row_of(row)], [])


def test_what_is_missing_is_said_to_be() -> None:
    bare = render(replace(submitted(), title="", rationale="", author="", files=(), log=())).decode()
    assert bare.startswith("# Proposal: untitled\n")
    assert f"**Author**: {submitted().submitted_by}\n" in bare
    assert "## Problem Statement\nNot stated.\n" in bare
    assert "## Affected Files\nNone.\n" in bare
    assert "## Implementation Log\n\nNothing yet.\n" in bare


def test_everyone_who_edited_is_named() -> None:
    page = render(replace(submitted(), editors=(ActorId("person-1"), ActorId("person-2")))).decode()
    assert "**Edited by**: person-1, person-2\n" in page


def test_a_diff_that_is_no_text_can_still_be_written() -> None:
    assert b"+?\n" in render(replace(submitted(), diff="+\udcff\n"))


def test_a_proof_that_was_tried_again_says_what_ended_the_first() -> None:
    row = replace(submitted(), proof=replace(PASSED, deaths=("the worker was killed",)))
    assert "tried again after this: the worker was killed" in render(row).decode()


def test_tests_that_failed_leave_the_box_of_policy_ticked_and_name_a_missing_sandbox() -> None:
    row = replace(submitted(), proof=replace(PASSED, verdict=ProofVerdict.FAILED, sandbox=""))
    assert boxes(row)["Policy tests pass"]
    assert not boxes(row)["The host's own tests pass in the sandbox"]
    assert "in the sandbox (failed, no sandbox)" in render(row).decode()


@pytest.mark.parametrize("path", ["a.yaml", "a.yml", "A.YAML"])
def test_a_yaml_file_that_nobody_checked_is_said_to_be_unchecked(path: str) -> None:
    assert "- [ ] yamllint passes (not run)" in render(replace(submitted(), files=(path,))).decode()


@pytest.mark.parametrize("category", list(Category))
def test_the_blank_form_is_that_of_the_source_document(category: Category) -> None:
    """Set RENEW_GOLDEN=1 to write what is made now, then read the difference."""
    path = GOLDEN / f"template_{category.value}.md"
    form = templates()[f"proposals/templates/{category.value}.md"]
    if os.environ.get("RENEW_GOLDEN"):
        path.write_bytes(form)
    assert form == path.read_bytes()


def test_the_path_has_year_month_id_and_a_short_title() -> None:
    assert record_path(submitted()) == (
        "proposals/2026/01/11111111-2222-3333-4444-555555555555-empty-orders-divide-by-zero-in-get-total.md"
    )


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("../../etc/passwd", "etc-passwd"),
        ("Ünïcödé näme", "unicode-name"),
        ("日本語", "change"),
        ("", "change"),
        ("x" * 500, "x" * 48),
        ("word " * 50, "word-word-word-word-word-word-word-word-word"),
        ("a\nb\0c", "a-b-c"),
    ],
)
def test_a_title_of_any_kind_makes_a_safe_and_short_name(title: str, slug: str) -> None:
    path = record_path(replace(submitted(), title=title))
    assert path == f"proposals/2026/01/11111111-2222-3333-4444-555555555555-{slug}.md"


def test_the_path_stays_when_a_revision_brings_another_title() -> None:
    first = submitted()
    second = replace(first, title="Another", revision=2, provenance={FIRST_TITLE: first.title})
    assert record_path(second) == record_path(first)


def test_the_month_is_that_of_utc() -> None:
    late = datetime(2026, 1, 31, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert record_path(replace(submitted(), created_at=late)).startswith("proposals/2026/02/")


def test_an_id_that_is_none_names_no_file() -> None:
    with pytest.raises(InvalidInput):
        record_path(replace(submitted(), id=ProposalId("../x")))


def test_there_is_a_blank_form_for_each_category() -> None:
    forms = templates()
    assert sorted(forms) == [f"proposals/templates/{name}.md" for name in ("bugfix", "enhancement", "optimization")]
    for path, form in forms.items():
        extra = {"optimization": "Performance Impact", "enhancement": "User Benefit"}.get(Path(path).stem)
        assert [heading for heading in headings(form.decode()) if heading != extra] == HEADINGS
