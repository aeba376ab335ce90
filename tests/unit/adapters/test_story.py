"""What `homeostat verify` collects: altered rows and exchanged snapshots are seen in it."""

import shutil
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from homeostat.adapters.backups import FolderBackupStore
from homeostat.adapters.clock import SystemClock
from homeostat.adapters.git.deployed import GitDeployedTree
from homeostat.adapters.git.records import GitRecordBranch
from homeostat.adapters.git.repository import open_repository
from homeostat.adapters.keys import load_or_create_keys
from homeostat.adapters.store.store import SqlStore
from homeostat.adapters.story import check_story, open_story
from homeostat.audit.head import TRAILER_KEY
from homeostat.core.digests import Digest
from homeostat.model.actor import Actor, Role
from homeostat.model.change import REGULAR, ChangeKind, FileChange, FileState, TreeChange
from homeostat.model.proposal import Application, ProposalState
from homeostat.proposals.markdown import record_path, render
from homeostat.testing.example_rows import example_proposal, move_entry
from homeostat.testing.git_repository import UserRepository

AT = datetime(2026, 1, 5, tzinfo=UTC)


def change(path, before, after):
    sides = [FileState(content=text.encode(), mode=REGULAR) for text in (before, after)]
    item = FileChange(kind=ChangeKind.MODIFY, path=path, old_path=path, before=sides[0], after=sides[1])
    return TreeChange(files=(item,))


@pytest.fixture
def stage(tmp_path):
    """Return repository and state directory of one proposal whose change was committed, with its snapshot."""
    user = UserRepository(tmp_path / "repo")
    head = user.commit({"a.py": b"A = 1\n", "b.py": b"B = 1\n"})
    state = tmp_path / "state"
    keys = load_or_create_keys(state)
    store = SqlStore.open(
        state / "homeostat.sqlite", signer=keys.signer, clock=SystemClock(), head_path=state / "ledger-head.json"
    )
    tree = GitDeployedTree(open_repository(user.root), deployed_branch="main")
    commit = tree.prepare(parent=head, change=change("a.py", "A = 1\n", "A = 2\n"), message="A", at=AT)
    backups = FolderBackupStore(state / "backups")
    backups.save(name="20260105/a", change=change("a.py", "A = 1\n", "A = 2\n"), facts={})
    backups.save(name="20260105/b", change=change("b.py", "B = 1\n", "B = 6\n"), facts={})
    row = example_proposal()
    row = replace(row, change=replace(row.change, base_commit=head))
    store.proposals.insert(row, move_entry(row, "submitted", ProposalState.PENDING))
    application = Application(before_commit=head, commit=commit, backup="20260105/a", at=AT)
    store.proposals.save(
        replace(row, state=ProposalState.VALIDATING, application=application),
        move_entry(row, "validating", ProposalState.VALIDATING),
    )
    store.actors.create(
        actor=Actor(id="agent-00000000000b", role=Role.AGENT, name="bot"), token_digest=Digest("sha256:1")
    )
    store.close()
    return user.root, state


def failed(stage):
    return {check.number: check.detail for check in check_story(*stage) if not check.ok}


def alter(stage, statement):
    connection = sqlite3.connect(stage[1] / "homeostat.sqlite")
    with connection:
        assert connection.execute(statement).rowcount == 1
    connection.close()


def test_what_was_written_is_what_is_found(stage):
    assert not {6, 8} & failed(stage).keys()


@pytest.mark.parametrize("field", ["title", "rationale", "submitted_by", "policy_digest", "state_reason"])
def test_a_field_altered_in_the_row_alone_is_found(stage, field):
    alter(stage, f"update proposals set document = json_set(document, '$.{field}', 'altered')")
    assert "its row is not the one" in failed(stage)[6]


def test_a_finding_exchanged_in_the_row_alone_is_found(stage):
    alter(stage, "update proposals set finding_id = 'f-0000000000000000'")
    assert 6 in failed(stage)


def test_a_bots_row_made_an_owners_is_found(stage):
    before = failed(stage).get(7, "")
    alter(stage, "update actors set role = 'owner'")
    assert "agent-00000000000b may approve" in failed(stage)[7]
    assert "may approve" not in before


def test_a_snapshot_exchanged_for_another_sound_one_is_found(stage):
    folder = stage[1] / "backups" / "20260105"
    shutil.rmtree(folder / "a")
    shutil.copytree(folder / "b", folder / "a")
    assert "hold different bytes" in failed(stage)[8]


@pytest.mark.parametrize("how", ["edited", "removed", "older"])
def test_a_record_that_was_changed_by_hand_is_named(tmp_path, how):
    user = UserRepository(tmp_path / "repo")
    head = user.commit({"a.py": b"A = 1\n"})
    state = tmp_path / "state"
    keys = load_or_create_keys(state)
    store = SqlStore.open(
        state / "homeostat.sqlite", signer=keys.signer, clock=SystemClock(), head_path=state / "ledger-head.json"
    )
    row = example_proposal()
    row = replace(row, change=replace(row.change, base_commit=head))
    store.proposals.insert(row, move_entry(row, "submitted", ProposalState.PENDING))
    rejected = replace(row, state=ProposalState.REJECTED, updated_at=row.updated_at + timedelta(hours=1))
    store.proposals.save(rejected, move_entry(row, "rejected", ProposalState.REJECTED))
    records = GitRecordBranch(open_repository(user.root))
    trailers = {TRAILER_KEY: store.ledger.head().trailer()}
    path = record_path(row)

    def publish(files):
        records.publish(files=files, subject="x", trailers=trailers, at=AT)

    publish({path: render(rejected)})
    store.records.mark_recorded(row.id, 2)
    store.close()
    assert _wrong_records(user.root, state) == []
    if how == "removed":
        user.git("checkout", "-q", "homeostat/proposals")
        user.git("rm", "-q", path)
        user.git("commit", "-qm", "gone")
    else:
        publish({path: render(row) if how == "older" else render(rejected).replace(b"rejected", b"approved")})
    (line,) = _wrong_records(user.root, state)
    assert path in line and how in line


def _wrong_records(root, state):
    with open_story(root, state) as inputs:
        return [line for part in inputs.parts for line in part.records]
