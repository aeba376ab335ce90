"""Somebody else holds a lock that the hub needs: it is told which, nothing is half done, and it goes on afterwards."""

import sqlite3
from contextlib import closing

import pytest
from real_world import RealWorld

from homeostat.core.errors import Unavailable
from homeostat.model.proposal import ProposalState
from homeostat.testing.world import MENDED, SOURCE

S = ProposalState


@pytest.fixture
def world(tmp_path):
    made = RealWorld(tmp_path)
    yield made
    made.close()


def assert_whole(world):
    assert world.violations() == ()
    assert world.unverified() == []


def test_a_database_that_another_process_has_locked_refuses_and_then_goes_on(world):
    identity = world.propose()
    world.close()
    world.open(busy_timeout_s=0.05)
    with closing(sqlite3.connect(world.state_dir / "homeostat.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable) as caught:
            world.apply(identity)
        assert caught.value.code == "store-locked" and caught.value.hint
        assert world.row(identity).state is S.AWAITING_APPROVAL
        assert world.disk() == world.runs() == SOURCE
        other.execute("ROLLBACK")
    world.apply(identity)
    assert world.row(identity).state is S.OBSERVING
    assert world.disk() == world.runs() == MENDED
    assert_whole(world)


def test_an_application_waits_for_an_index_that_a_git_has_locked_and_names_the_lock(world):
    identity = world.propose()
    lock = world.root / ".git" / "index.lock"
    lock.write_bytes(b"")
    with pytest.raises(Unavailable) as caught:
        world.apply(identity)
    assert caught.value.code == "git-lock-held" and str(lock) in caught.value.message
    assert world.row(identity).state is S.APPLYING, "what was agreed to is not given up"
    assert world.disk() == world.runs() == SOURCE
    assert lock.read_bytes() == b"", "another program's lock is not ours to remove"
    lock.unlink()
    world.restart()
    assert world.row(identity).state is S.OBSERVING
    assert world.disk() == world.runs() == MENDED
    assert_whole(world)


def test_a_branch_of_records_that_is_locked_lags_and_is_caught_up(world):
    first = world.propose()
    lock = world.root / ".git" / "refs" / "heads" / "homeostat" / "proposals.lock"
    lock.write_bytes(b"")
    world.apply(first)
    assert world.row(first).state is S.OBSERVING, "the row is durable, the record follows"
    assert [item.number for item in world.violations()] == [9]
    lock.unlink()
    world.reopen()
    assert_whole(world)
