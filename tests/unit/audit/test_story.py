"""The numbered checks of `homeostat verify`: each one fails for what it is there for."""

from dataclasses import replace

import pytest
from msgspec import structs
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
    life,
    proposals_of,
)

from homeostat.adapters.keys import Ed25519Signer
from homeostat.audit.chain import EMPTY_HEAD, head_of
from homeostat.audit.restoration import Restoration, restoration_entry
from homeostat.audit.story import verify_story
from homeostat.audit.story_parts import BackupResult, named_commits
from homeostat.core.digests import digest_bytes
from homeostat.model.actor import Actor, Role
from homeostat.model.ledger import EntryDraft
from homeostat.testing.example_rows import PERSON, example_entry, example_proposal, move_entry


def test_a_record_that_is_not_as_written_is_named():
    told = failed(inputs_of(*life(until=S.IMPLEMENTED), records=("the record x.md was edited by hand",)))
    assert told == {4: "the record x.md was edited by hand"}


def test_a_true_story_passes_every_numbered_check():
    for until in (S.VALIDATING, S.APPROVED, S.APPLYING, S.IMPLEMENTED, S.REVERTED):
        checks = verify_story(inputs_of(*life(until=until)))
        assert [check.number for check in checks] == list(range(1, 12))
        assert [check.detail for check in checks if not check.ok] == []


def test_an_empty_input_does_not_read_as_success():
    nothing = inputs_of(*life())
    empty = changed(nothing, entries=[], db_head=EMPTY_HEAD, head_file=None, trailers=[], proposals=[], backups=[])
    assert 1 in failed(empty)
    with_rows = changed(empty, proposals=proposals_of(nothing))
    assert {1, 4, 5, 6, 7, 8} <= failed(with_rows).keys()
    assert "no entry at all" in failed(with_rows)[1]


@pytest.mark.parametrize(
    ("part", "numbers"),
    [
        ("ledger", {1, 2, 3, 4, 5, 6, 7, 10, 11}),
        ("head-file", {3}),
        ("git", {4, 9, 10}),
        ("proposals", {5, 6, 7, 8, 9, 11}),
        ("backups", {8}),
    ],
)
def test_a_part_that_could_not_be_read_fails_the_checks_that_need_it(part, numbers):
    found = failed(inputs_of(*life(), problems={part: "the disk is gone"}))
    assert set(found) == numbers
    assert all("could not be checked: the disk is gone" in detail for detail in found.values())


class TestLedger:
    def test_an_altered_entry_fails_the_chain(self):
        inputs = inputs_of(*life())
        entries = [*inputs.entries]
        entries[3] = structs.replace(entries[3], actor="person-ffffffffffff")
        assert "entry 4 was altered" in failed(changed(inputs, entries=entries))[2]

    def test_entries_that_were_not_all_read_fail(self):
        inputs = inputs_of(*life())
        assert {1, 2} <= failed(changed(inputs, entries=inputs.entries[:-1])).keys()

    def test_another_key_fails(self):
        assert 2 in failed(inputs_of(*life(), verify=Ed25519Signer.generate().verify))


class TestWitnesses:
    def test_a_head_file_that_lags_passes_and_says_so(self):
        inputs = inputs_of(*life())
        behind = changed(inputs, head_file=head_of(inputs.entries[2]))
        assert failed(behind) == {}
        assert "the head file is at entry 3" in verify_story(behind)[2].detail

    def test_a_missing_head_file_fails_once_there_is_more_than_one_entry(self):
        assert "no head file" in failed(inputs_of(*life(), head_file=None))[3]

    def test_a_cut_off_ledger_is_found_by_the_head_file_and_by_git(self):
        inputs = inputs_of(*life())
        cut = inputs.entries[:-2]
        found = failed(changed(inputs, entries=cut, db_head=head_of(cut[-1])))
        assert "its end was cut off" in found[3]
        assert f"status commit {WITNESS[:12]} saw entry 8" in found[4]

    def test_a_restored_older_state_directory_is_found_by_git_alone(self):
        inputs = inputs_of(*life())
        cut = inputs.entries[:4]
        old = replace(life(until=S.AWAITING_APPROVAL)[0])
        found = failed(
            changed(inputs, entries=cut, db_head=head_of(cut[-1]), head_file=head_of(cut[-1]), proposals=[old])
        )
        assert set(found) == {4, 10}

    def test_recorded_proposals_without_any_trailer_fail(self):
        inputs = inputs_of(*life(), trailers=[])
        assert "no status commit carries a ledger head" in failed(inputs)[4]
        assert failed(changed(inputs, unrecorded=frozenset({proposals_of(inputs)[0].id}))) == {}

    def test_status_commits_that_were_cut_off_are_found_by_what_the_rows_say_was_recorded(self):
        inputs = inputs_of(*life())
        until = head_of(inputs.entries[-2])
        cut = changed(inputs, trailers=[(WITNESS, until.trailer())], later_trailers=[(WITNESS, until.trailer())])
        assert f"end at entry {until.size}" in failed(cut)[4]
        assert failed(changed(cut, unrecorded=frozenset({proposals_of(inputs)[0].id}))) == {}

    def test_a_hub_that_records_while_the_story_is_collected_is_not_taken_for_tampering(self):
        inputs = inputs_of(*life())
        before = head_of(inputs.entries[-2])
        assert failed(changed(inputs, trailers=[(WITNESS, before.trailer())])) == {}


class TestStates:
    def test_a_row_in_another_state_than_its_entries_say_fails(self):
        row, drafts = life(until=S.AWAITING_APPROVAL)
        assert "in the row, but 'awaiting_approval'" in failed(inputs_of(replace(row, state=S.REJECTED), drafts))[5]

    def test_a_row_that_was_set_back_to_an_older_version_fails(self):
        row, drafts = life()
        assert 5 in failed(inputs_of(replace(row, version=row.version - 1), drafts))

    def test_a_row_whose_log_was_saved_without_an_entry_passes(self):
        row, drafts = life()
        assert failed(inputs_of(replace(row, version=row.version + 3), drafts)) == {}

    def test_a_row_without_entries_fails(self):
        row, drafts = life()
        inputs = inputs_of(row, drafts)
        extra = example_proposal(9)
        assert (
            f"{extra.id} is pending, but the ledger has no entry" in failed(changed(inputs, proposals=[row, extra]))[5]
        )

    def test_entries_without_a_row_fail(self):
        inputs = inputs_of(*life())
        assert "but no row" in failed(changed(inputs, proposals=[]))[5]

    def test_entries_that_move_no_proposal_need_no_row(self):
        row, drafts = life()
        refused = example_entry("proposal.refused", subject="sha256:x", body={"code": "secret-in-diff"})
        assert failed(inputs_of(row, [*drafts, refused])) == {}

    def test_a_step_that_is_missing_between_two_entries_fails(self):
        row, drafts = life()
        assert "starts from" in failed(inputs_of(row, [*drafts[:3], *drafts[4:]]))[5]

    def test_versions_that_do_not_rise_fail(self):
        row, drafts = life()
        drafts[-1] = replace(drafts[-1], body={**drafts[-1].body, "version": 2})
        assert "has version 2 after" in failed(inputs_of(row, drafts))[5]


class TestDiffs:
    def test_a_diff_that_was_changed_under_its_digest_fails(self):
        row, drafts = life()
        assert "does not match its own digest" in failed(inputs_of(replace(row, diff=row.diff + " "), drafts))[6]

    def test_a_diff_that_was_changed_with_its_digest_fails_at_the_ledger(self):
        row, drafts = life()
        diff = row.diff.replace("+x", "+y")
        forged = replace(row, diff=diff, change=replace(row.change, diff_digest=digest_bytes(diff.encode())))
        assert "recorded the diff" in failed(inputs_of(forged, drafts))[6]


class TestApprovals:
    def test_an_applied_change_without_an_approval_fails(self):
        row, drafts = life()
        without = [
            replace(draft, kind="proposal.noted") if draft.kind == "proposal.approved" else draft for draft in drafts
        ]
        assert "has no approval before it" in failed(inputs_of(row, without))[7]

    @pytest.mark.parametrize("actor", ["agent-0123456789ab", "system-homeostat", ""])
    def test_an_approval_by_no_person_fails(self, actor):
        row, drafts = life()
        place = next(number for number, draft in enumerate(drafts) if draft.kind == "proposal.approved")
        drafts[place] = replace(drafts[place], actor=actor or "x")
        assert "who is not a person" in failed(inputs_of(row, drafts))[7]

    @pytest.mark.parametrize("seen", [None, "", "sha256:" + "0" * 64])
    def test_an_approval_of_another_change_than_was_seen_fails(self, seen):
        row, drafts = life()
        place = next(number for number, draft in enumerate(drafts) if draft.kind == "proposal.approved")
        drafts[place] = replace(drafts[place], body={**drafts[place].body, "change_seen": seen})
        assert "approves another change" in failed(inputs_of(row, drafts))[7]

    def test_applying_another_change_than_was_approved_fails(self):
        row, drafts = life(until=S.OBSERVING)
        other = "sha256:" + "1" * 64
        swapped = [
            replace(draft, body={**draft.body, "change_digest": other})
            if draft.body.get("to") in ("applying", "observing")
            else draft
            for draft in drafts
        ]
        row = replace(row, change=replace(row.change, change_digest=other))
        found = failed(inputs_of(row, swapped))[7]
        assert "is of another change than entry 5 approved" in found
        assert "review is not of the change" in found

    def test_an_approval_before_the_proposal_was_taken_up_again_does_not_count(self):
        row, drafts = life(until=S.APPROVED)
        for event, to in (("resumed", S.PENDING), ("apply_started", S.APPLYING)):
            drafts.append(move_entry(row, event, to))
            row = replace(row, state=to, version=row.version + 1)
        assert "(proposal.apply_started) has no approval before it" in failed(inputs_of(row, drafts))[7]

    def test_a_row_that_names_another_commit_than_the_ledger_fails(self):
        row, drafts = life()
        forged = replace(row, application=replace(row.application, commit=BEFORE))
        assert "names commit" in failed(inputs_of(forged, drafts))[7]

    def test_a_row_that_names_another_approver_fails(self):
        row, drafts = life()
        forged = replace(row, review=replace(row.review, by="person-ffffffffffff"))
        assert "as approver" in failed(inputs_of(forged, drafts))[7]

    def test_a_row_that_lost_its_review_fails(self):
        row, drafts = life()
        assert 7 in failed(inputs_of(replace(row, review=None), drafts))


class TestWhatIsKept:
    def test_a_damaged_backup_fails(self):
        damaged = [BackupResult(name="20260105/b", intact=False, detail="app.py differs")]
        assert "app.py differs" in failed(inputs_of(*life(), backups=damaged))[8]

    def test_a_backup_that_nobody_looked_at_fails(self):
        assert 8 in failed(inputs_of(*life(), backups=[]))

    @pytest.mark.parametrize(("gone", "what"), [(BEFORE, "base"), (APPLIED, "applied"), (REVERT, "revert")])
    def test_a_commit_that_is_gone_fails(self, gone, what):
        row, drafts = life(until=S.REVERTED)
        found = failed(inputs_of(row, drafts, commits=frozenset({BEFORE, APPLIED, REVERT} - {gone})))
        assert f"its {what} commit {gone[:12]} is not in the repository" in found[9]

    def test_the_commit_of_an_application_that_failed_may_be_gone(self):
        row, drafts = life(until=S.APPLYING)
        drafts.append(move_entry(row, "apply_failed", S.FAILED))
        row = replace(row, state=S.FAILED, version=row.version + 1)
        assert failed(inputs_of(row, drafts, commits=frozenset({BEFORE}))) == {}
        assert named_commits([row]) == {BEFORE}


def test_many_faults_of_one_kind_are_named_in_part_and_counted():
    inputs = inputs_of(*life())
    many = [example_proposal(number) for number in range(10, 30)]
    assert failed(changed(inputs, proposals=[*proposals_of(inputs), *many]))[5].endswith("(and 15 more)")


def test_a_row_that_is_not_the_one_its_last_entry_was_written_with_is_found():
    row, drafts = life()
    drafts[-1] = replace(drafts[-1], body={**drafts[-1].body, "row_digest": "sha256:" + "1" * 64})
    assert failed(inputs_of(row, drafts, row_digests={row.id: "sha256:" + "1" * 64})) == {}
    found = failed(inputs_of(row, drafts, row_digests={row.id: "sha256:" + "2" * 64}))
    assert set(found) == {6} and "its row is not the one" in found[6]


@pytest.mark.parametrize(
    "intruder",
    [
        Actor(id="person-000000000666", role=Role.OWNER, name="x"),
        Actor(id="agent-000000000666", role=Role.OWNER, name="a bot whose row was altered"),
    ],
)
def test_an_owner_whom_the_ledger_does_not_know_is_found(intruder):
    found = failed(inputs_of(*life(), actors=[OWNER, intruder]))
    assert set(found) == {7} and intruder.id in found[7]


def test_a_bot_that_was_given_its_token_and_made_an_owner_afterwards_is_found():
    row, drafts = life()
    bot = Actor(id="agent-000000000666", role=Role.AGENT, name="bot")
    drafts.insert(1, EntryDraft(kind="token.made", actor=PERSON, subject=bot.id, body={"role": "agent"}))
    assert failed(inputs_of(row, drafts, actors=[OWNER, bot])) == {}
    assert set(failed(inputs_of(row, drafts, actors=[OWNER, replace(bot, role=Role.OWNER)]))) == {7}


def test_a_true_story_is_told_check_by_check():
    assert [(check.number, check.name, check.detail) for check in verify_story(inputs_of(*life()))] == [
        (1, "ledger readable", "8 entries"),
        (2, "chain and signatures", "8 entries are linked, hashed and signed"),
        (3, "head file", "at entry 8, as the database"),
        (4, "Git trailers", "2 status commits witness the same ledger"),
        (5, "proposal states", "1 proposals stand where their entries lead"),
        (6, "diffs", "1 diffs, and their rows, are the recorded ones"),
        (7, "approvals", "every applied change was approved by a person, as that change"),
        (8, "backups", "1 backups are intact"),
        (9, "commits", "3 named commits exist"),
        (10, "Merkle tree", "2 checkpoints in Git saw the same tree over the entries"),
        (11, "evidence", "0 proofs are signed by a worker"),
    ]


def test_a_check_that_failed_has_its_name_and_all_its_faults():
    inputs = inputs_of(*life(), records=tuple(f"record {number}" for number in range(5)))
    assert [
        (check.number, check.name, check.ok, check.detail) for check in verify_story(inputs) if check.ok is not True
    ] == [(4, "Git trailers", False, "record 0; record 1; record 2; record 3; record 4")]


def test_a_head_file_that_a_crash_kept_from_being_written_passes_after_one_entry_only():
    whole = inputs_of(*life())
    first = cut(whole, 1, head_file=None, proposals=[])
    assert failed(first) == {}
    assert verify_story(first)[2].detail == (
        "not written yet: a crash after the very first entry; the next start writes it"
    )
    assert 3 in failed(cut(whole, 2, head_file=None, proposals=[]))


def test_a_head_file_is_judged_whatever_git_says_before_and_after():
    inputs = inputs_of(*life())
    forged = replace(inputs.head_file, signature="")
    found = failed(changed(inputs, head_file=forged, trailers=[(WITNESS, "nonsense"), *inputs.trailers]))
    assert "signature is not of this ledger's key" in found[3]
    assert "no readable ledger head" in found[4]


def test_git_that_could_not_be_read_is_not_blamed_for_having_no_trailers():
    told = failed(inputs_of(*life(), trailers=[], later_trailers=[], problems={"git": "the disk is gone"}))
    assert told[4] == "could not be checked: the disk is gone"


def test_a_ledger_that_was_lawfully_restored_passes_and_without_the_record_does_not():
    row, drafts = life(until=S.AWAITING_APPROVAL)
    lost = head_of(inputs_of(*life()).entries[-1])
    tip = "e" * 40
    record = restoration_entry(Restoration(kept=len(drafts), lost_to=lost.size, tip=tip), made_at="", by=PERSON)
    seen = [(tip, lost.trailer())]
    assert failed(inputs_of(row, [*drafts, record], trailers=seen, later_trailers=seen)) == {}
    assert set(failed(inputs_of(row, [*drafts, replace(record, kind="ledger.noted")], trailers=seen))) == {4}
