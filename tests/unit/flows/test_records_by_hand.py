"""People may write on the branch of records: the row stays the truth, and their words are not lost."""

from dataclasses import replace

import pytest

from homeostat.adapters.git.records import BRANCH, GitRecordBranch
from homeostat.adapters.git.repository import open_repository
from homeostat.core.limits import MAX_RECORD_BYTES
from homeostat.flows.deciding import reject
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.recording import catch_up
from homeostat.proposals.index import INDEX_PATH
from homeostat.proposals.markdown import edited_path, is_as_written, parse_header, record_path
from homeostat.testing.git_repository import UserRepository
from homeostat.testing.world import BOT, DIFF, OWNER, World

GARBAGE = [b"", b"\xff\xfe\x00 not text", b"# Proposal: x\n\n**Status**: implemented\n\n---\n", b"<!-- -->" * 1000]


@pytest.fixture
def stage(tmp_path):
    """A world whose records are on a real branch, with one proposal; and the person's own repository."""
    user = UserRepository(tmp_path / "repo")
    user.commit({"a.py": b"a\n"})
    world = World()
    world.deps = replace(world.deps, record_branch=GitRecordBranch(open_repository(user.root)))
    row = submit(world.deps, Submission(title="Mend", rationale="why", diff=DIFF), actor=BOT)
    world.run()
    return world, user, world.deps.proposals.get(row.id)


def by_hand(user, files):
    """Commit on the branch of records as a person does: None removes."""
    user.git("checkout", "-q", BRANCH)
    for path, content in files.items():
        if content is None:
            user.git("rm", "-q", path)
        else:
            user.write(path, content)
    user.git("add", "-A")
    user.git("commit", "-qm", "by hand")
    user.git("checkout", "-q", "main")


def decided(world, row):
    return reject(world.deps, row.id, actor=OWNER, notes="no")


def test_a_record_as_it_is_written_says_so_until_a_byte_differs(stage):
    world, _, row = stage
    record = world.deps.record_branch.read(record_path(row))
    assert is_as_written(record)
    for place in range(0, len(record), 97):
        assert not is_as_written(record[:place] + bytes([record[place] ^ 1]) + record[place + 1 :])
    assert not is_as_written(record + b"x") and not is_as_written(record[:-1]) and not is_as_written(b"")


def test_an_edited_status_is_not_believed_and_the_edited_text_is_kept(stage):
    world, user, row = stage
    path = record_path(row)
    edited = world.deps.record_branch.read(path).replace(b"**Status**: pending", b"**Status**: implemented")
    by_hand(user, {path: edited + b"I tried it. Works. -- Ada\n"})
    after = decided(world, row)
    assert after.status == "rejected"
    record = world.deps.record_branch.read(path)
    assert is_as_written(record) and parse_header(record).status == "rejected"
    kept = edited_path(row.id, edited + b"I tried it. Works. -- Ada\n")
    assert world.deps.record_branch.read(kept).endswith(b"-- Ada\n")
    assert [value for _, value in world.deps.record_branch.trailers("Homeostat-Edited")] == [kept]
    assert world.store.records.pending_records() == []


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_whatever_stands_there_the_next_status_is_recorded(stage, garbage):
    world, user, row = stage
    by_hand(user, {record_path(row): garbage, "proposals/index.md": garbage + b"x"})
    decided(world, row)
    assert parse_header(world.deps.record_branch.read(record_path(row))).status == "rejected"
    assert world.deps.record_branch.read(edited_path(row.id, garbage)) == garbage
    assert b"rejected 1" in world.deps.record_branch.read("proposals/index.md")


def test_what_is_larger_than_any_record_is_replaced_without_being_read(stage):
    world, user, row = stage
    by_hand(user, {record_path(row): b"x" * (MAX_RECORD_BYTES + 1)})
    decided(world, row)
    assert is_as_written(world.deps.record_branch.read(record_path(row)))


def test_removed_records_and_merges_are_no_obstacle(stage):
    world, user, row = stage
    user.git("checkout", "-q", "-b", "mine", BRANCH)
    user.write("proposals/notes.md", b"mine\n")
    user.git("add", "-A")
    user.git("commit", "-qm", "notes")
    by_hand(user, {record_path(row): None, "proposals/index.md": None})
    user.git("checkout", "-q", BRANCH)
    user.git("merge", "-q", "--no-edit", "mine")
    user.git("checkout", "-q", "main")
    decided(world, row)
    assert is_as_written(world.deps.record_branch.read(record_path(row)))
    assert world.deps.record_branch.read("proposals/notes.md") == b"mine\n"
    assert catch_up(world.deps) == 0


def test_verify_reads_what_is_there_and_what_is_not(stage):
    world, _, row = stage
    path = record_path(row)
    records = world.deps.record_branch
    assert dict(records.read_all([path, "no/such.md"])) == {path: records.read(path), "no/such.md": None}


def test_an_index_that_is_too_large_to_be_ours_holds_no_record_up(stage):
    world, user, row = stage
    by_hand(user, {INDEX_PATH: b"x" * (MAX_RECORD_BYTES + 1)})
    decided(world, row)
    catch_up(world.deps)
    assert row.id[:8].encode() in world.deps.record_branch.read(INDEX_PATH)
    assert parse_header(world.deps.record_branch.read(record_path(row))).status == "rejected"
