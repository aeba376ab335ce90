"""What the checks of `homeostat verify` say, of stories in many parts, of many revisions, and of restored rows."""

from dataclasses import replace
from typing import ClassVar

import pytest
from true_story import (
    APPLIED,
    BEFORE,
    OWNER,
    REVERT,
    WITNESS,
    S,
    changed,
    cut,
    failed,
    inputs_of,
    ledger,
    life,
    proposals_of,
)

from homeostat.audit.chain import head_of
from homeostat.audit.story import unlike_commits, verify_story
from homeostat.core.digests import digest_bytes
from homeostat.model.actor import Actor, Role
from homeostat.model.change import REGULAR, ChangeKind, FileChange, FileState, TreeChange
from homeostat.model.ledger import EntryDraft
from homeostat.model.proposal import Application
from homeostat.testing.example_rows import PERSON, START, example_proposal, move_entry


class TestManyParts:
    """Whatever is wrong with proposals that were looked at first is still told after the last ones."""

    def parts(self, other_first=False, **of_the_first):
        """Return the inputs of two proposals in two parts, the one of `life` changed; `row` changes its row."""
        row, drafts = life()
        other = example_proposal(2)
        changes = of_the_first.pop("row", {})
        inputs = inputs_of(replace(row, **changes), [*drafts, move_entry(other, "submitted", S.PENDING)])
        (part,) = inputs.parts
        own = [entry for entry in part.entries if entry.subject != other.id]
        first = replace(part, **{"entries": own, **of_the_first})
        rest = [entry for entry in part.entries if entry.subject == other.id]
        second = replace(part, proposals=[other], entries=rest, backups=[])
        return replace(inputs, parts=[second, first] if other_first else [first, second])

    def test_all_of_them_are_counted(self):
        details = [check.detail for check in verify_story(self.parts())]
        assert details[4] == "2 proposals stand where their entries lead"
        assert details[7:9] == ["1 backups are intact", "4 named commits exist"]

    def test_all_applied_changes_of_one_part_are_counted(self):
        row, drafts = life()
        other = replace(example_proposal(2), application=row.application, state=S.FAILED)
        inputs = inputs_of(row, drafts)
        (part,) = inputs.parts
        (check,) = [
            check
            for check in verify_story(
                replace(inputs, parts=[replace(part, proposals=[example_proposal(3), other, row])])
            )
            if check.number == 8
        ]
        assert check.detail == "2 backups are intact"

    @pytest.mark.parametrize("other_first", [False, True])
    @pytest.mark.parametrize(
        ("number", "changes"),
        [
            (4, {"records": ("edited by hand",)}),
            (5, {"row": {"state": S.REJECTED}}),
            (6, {"row": {"diff": "--- other"}}),
            (7, {"row": {"review": None}}),
            (8, {"backups": []}),
            (9, {"commits": frozenset()}),
        ],
    )
    def test_a_fault_in_one_of_them_is_told(self, number, changes, other_first):
        assert number in failed(self.parts(other_first=other_first, **changes))

    @pytest.mark.parametrize("other_first", [False, True])
    def test_an_altered_row_in_one_of_them_is_told(self, other_first):
        row, drafts = life()
        drafts[-1] = replace(drafts[-1], body={**drafts[-1].body, "row_digest": "sha256:" + "1" * 64})
        own = ledger(drafts)
        inputs = self.parts(other_first=other_first, entries=own, row_digests={row.id: "sha256:" + "2" * 64})
        assert "its row is not the one that entry 8 was written with" in failed(inputs)[6]

    @pytest.mark.parametrize("other_first", [False, True])
    def test_status_commits_cut_off_under_one_of_them_are_told(self, other_first):
        inputs = self.parts(other_first=other_first)
        until = [(WITNESS, head_of(inputs.entries[-3]).trailer())]
        told = failed(replace(inputs, trailers=until, later_trailers=until))[4]
        assert told.count("some were cut off") == 2

    def test_proposals_recorded_without_any_trailer_are_all_counted(self):
        told = failed(replace(self.parts(), trailers=[], later_trailers=[]))[4]
        assert told.startswith("2 proposals were recorded in Git")


class TestTold:
    """Each fault names the proposal, the entry and what stood there."""

    def test_entries_without_a_row(self):
        inputs = inputs_of(*life())
        subject = proposals_of(inputs)[0].id
        told = failed(changed(inputs, proposals=[]))[5]
        assert f"{subject} has 7 entries, the last being 8, but no row" in told

    def test_a_proposal_without_entries_beside_one_with_a_gap(self):
        row, drafts = life()
        inputs = inputs_of(row, [*drafts[:3], *drafts[4:]])
        told = failed(changed(inputs, proposals=[example_proposal(9), row]))[5]
        assert "is pending, but the ledger has no entry of it" in told
        assert "entry 4 starts from 'awaiting_approval', not from 'validating'" in told

    def test_a_version_that_stays_is_no_step(self):
        row, drafts = life()
        drafts[-1] = replace(drafts[-1], body={**drafts[-1].body, "version": drafts[-2].body["version"]})
        assert f"has version {drafts[-2].body['version']} after" in failed(inputs_of(row, drafts))[5]

    def test_a_diff_that_is_no_text_is_compared_all_the_same(self):
        row, _ = life()
        diff = "+\udcff\n"
        change = replace(row.change, diff_digest=digest_bytes(diff.encode("utf-8", "surrogatepass")))
        odd = replace(example_proposal(), diff=diff, change=change)
        assert failed(inputs_of(odd, [life()[1][0], move_entry(odd, "submitted", S.PENDING)])) == {}

    def test_a_diff_that_no_entry_recorded(self):
        row, drafts = life()
        other = "sha256:" + "1" * 64
        drafts[4] = replace(drafts[4], body={**drafts[4].body, "diff_digest": other})
        told = failed(inputs_of(row, drafts))[6]
        assert f"entry 5 recorded the diff {other!r}, the row has {row.change.diff_digest}" in told

    def test_a_change_that_the_last_entry_does_not_name(self):
        row, drafts = life()
        other = "sha256:" + "1" * 64
        drafts[-1] = replace(drafts[-1], body={**drafts[-1].body, "change_digest": other})
        told = failed(inputs_of(row, drafts))[7]
        assert f"the row's change is {row.change.change_digest}, recorded was {other!r}" in told

    def test_a_commit_that_the_ledger_does_not_name(self):
        row, drafts = life()
        forged = replace(row, application=replace(row.application, commit=BEFORE))
        assert (
            f"{row.id}: the row names commit {BEFORE[:12]}, the ledger {APPLIED!r}"
            in failed(inputs_of(forged, drafts))[7]
        )

    def test_an_applied_change_that_the_ledger_does_not_know(self):
        row, drafts = life()
        told = failed(cut(inputs_of(row, drafts), 1))[7]
        assert told == f"{row.id} was applied, but the ledger has no approval of it"

    def test_a_bad_approval_before_a_good_one(self):
        row, drafts = life()
        place = next(number for number, draft in enumerate(drafts) if draft.kind == "proposal.approved")
        bad = replace(drafts[place], actor="agent-0123456789ab")
        assert "who is not a person" in failed(inputs_of(row, [*drafts[:place], bad, *drafts[place:]]))[7]

    def test_a_change_without_approval_is_named_by_its_proposal(self):
        row, drafts = life()
        without = [draft for draft in drafts if draft.kind != "proposal.approved"]
        assert (
            f"{row.id}: entry 5 (proposal.apply_started) has no approval before it"
            in (failed(inputs_of(row, without))[7])
        )

    def test_the_commit_that_a_change_was_put_on(self):
        row, drafts = life()
        parent = "9" * 40
        moved = replace(row, application=replace(row.application, before_commit=parent))
        assert f"its parent commit {parent[:12]} is not in the repository" in failed(inputs_of(moved, drafts))[9]


def test_a_person_whose_credential_lets_them_read_only_may_not_approve():
    row, drafts = life()
    reader = "person-000000000666"
    drafts.insert(1, EntryDraft(kind="token.made", actor=PERSON, subject=reader, body={"role": "agent"}))
    assert set(failed(inputs_of(row, drafts, actors=[OWNER, Actor(id=reader, role=Role.OWNER, name="x")]))) == {7}


class TestRevisions:
    def edited(self, *, forged=False):
        """Return a proposal of two revisions, each with its own diff; forged: the first changed its own midway."""
        first, other = example_proposal(), example_proposal(2)
        second = replace(first, version=3, revision=2, diff=other.diff, change=other.change)
        drafts = [life()[1][0], move_entry(first, "submitted", S.PENDING)]
        changes = {"diff_digest": "sha256:" + "1" * 64} if forged else {}
        drafts.append(move_entry(first, "noted", S.PENDING, **changes))
        drafts.append(move_entry(replace(second, version=2), "edited", S.PENDING))
        drafts.append(move_entry(second, "noted", S.PENDING))
        return replace(second, version=4), drafts

    def test_each_revision_has_a_diff_of_its_own(self):
        assert failed(inputs_of(*self.edited())) == {}

    def test_a_revision_that_changed_its_diff_without_an_edit_is_found_later_too(self):
        assert "entry 3 recorded the diff" in failed(inputs_of(*self.edited(forged=True)))[6]


class TestRestoredRow:
    def restored(self, **facts):
        row, drafts = life(until=S.REVERTED)
        kept = drafts[:5]
        before = replace(row, state=S.APPROVED, version=4)
        body = {"commit": APPLIED, "revert_commit": REVERT, **facts}
        return replace(row, version=5), [*kept, move_entry(before, "restored", S.REVERTED, **body)]

    def test_what_git_showed_after_a_restoration_is_what_the_row_must_name(self):
        assert failed(inputs_of(*self.restored())) == {}

    @pytest.mark.parametrize("fact", ["commit", "revert_commit"])
    def test_another_commit_is_found(self, fact):
        assert f"the ledger {BEFORE!r}" in failed(inputs_of(*self.restored(**{fact: BEFORE})))[7]


class TestUnlikeCommits:
    CHANGE = TreeChange(
        files=(
            FileChange(
                kind=ChangeKind.RENAME,
                path="new.py",
                old_path="old.py",
                before=FileState(content=b"1", mode=REGULAR),
                after=FileState(content=b"2", mode=REGULAR),
            ),
            FileChange(
                kind=ChangeKind.CREATE,
                path="a.py",
                old_path="a.py",
                before=None,
                after=FileState(content=b"3", mode=REGULAR),
            ),
        )
    )
    HELD: ClassVar = {
        BEFORE: {"old.py": CHANGE.files[0].before},
        APPLIED: {"new.py": CHANGE.files[0].after, "a.py": CHANGE.files[1].after},
    }

    def unlike(self, held):
        application = Application(before_commit=BEFORE, commit=APPLIED, backup="20260105/b", at=START)
        return unlike_commits(
            self.CHANGE, application, lambda commit, paths: {path: held[commit].get(path) for path in paths}
        )

    def test_a_backup_that_holds_what_its_commits_hold_is_good(self):
        assert self.unlike(self.HELD) == ""

    @pytest.mark.parametrize(("commit", "path"), [(BEFORE, "old.py"), (APPLIED, "new.py"), (APPLIED, "a.py")])
    def test_other_bytes_in_either_commit_are_named(self, commit, path):
        other = {**self.HELD, commit: {**self.HELD[commit], path: FileState(content=b"x", mode=REGULAR)}}
        assert self.unlike(other) == (
            f"the backup 20260105/b and commit {commit[:12]} hold different bytes for {path!r}"
        )

    def test_a_file_that_a_commit_does_not_have_differs_and_the_first_is_named(self):
        assert self.unlike({**self.HELD, APPLIED: {}}).endswith("different bytes for 'a.py'")
