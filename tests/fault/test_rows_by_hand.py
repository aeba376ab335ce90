"""Another process writes an approval into the rows while a hub has them open; nothing is applied, then or later."""

import json
import sqlite3
from contextlib import closing

import pytest
from real_world import RealWorld

from homeostat.core.errors import IntegrityFailure
from homeostat.flows.applying import apply, request_apply
from homeostat.flows.recovering import recover
from homeostat.model.proposal import ProposalState
from homeostat.rollout.invariants import violations
from homeostat.testing.world import OWNER

OTHER = "--- a/other.py\n+++ b/other.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n"


@pytest.fixture
def world(tmp_path):
    world = RealWorld(tmp_path)
    yield world
    world.close()


def forge(world, identity, **columns):
    """Write a review and columns into a row, as `sqlite3` in another terminal does."""
    with closing(sqlite3.connect(world.state_dir / "homeostat.sqlite")) as database, database:
        ((text,),) = database.execute("SELECT document FROM proposals WHERE id = ?", (identity,)).fetchall()
        document = json.loads(text)
        review = {"by": OWNER.id, "at": "2026-01-05T09:30:00.000000Z", "decision": "approved", "notes": "", "label": ""}
        document["review"] = {**review, "change_digest": document["change_digest"], "unreviewed": False}
        document["apply_requested"] = True
    write(world, identity, document=json.dumps(document), **columns)


def write(world, identity, **columns):
    with closing(sqlite3.connect(world.state_dir / "homeostat.sqlite")) as database, database:
        names = ", ".join(f"{name} = ?" for name in columns)
        database.execute(f"UPDATE proposals SET {names} WHERE id = ?", (*columns.values(), identity))


def test_an_approval_that_is_written_into_the_database_applies_nothing(world):
    identity = world.propose()
    head, entries, before = world.user.git("rev-parse", "main"), world.deps.ledger.head(), world.disk()
    forge(world, identity, state="approved")
    assert world.row(identity).state is ProposalState.APPROVED, "the forgery can be read"
    with pytest.raises(IntegrityFailure, match="is not what the ledger recorded"):
        request_apply(world.deps, identity, actor=OWNER, seen=None)

    world.close()
    world.open()
    assert identity in recover(world.deps)
    world.starter.queue.clear()
    with pytest.raises(IntegrityFailure, match="is not what the ledger recorded"):
        apply(world.deps, identity)

    assert (world.user.git("rev-parse", "main"), world.deps.ledger.head()) == (head, entries)
    assert world.disk() == world.runs() == before
    assert "is approved in the row" in {check.name: check.detail for check in world.unverified()}["proposal states"]


def test_a_row_that_cannot_be_read_is_named_and_stops_neither_recovery_nor_the_look_at_the_others(world):
    damaged, other = world.propose(), world.propose("Another", OTHER)
    for identity in (damaged, other):
        request_apply(world.deps, identity, actor=OWNER, seen=None)
    world.starter.queue.clear()
    write(world, damaged, document="{")
    with pytest.raises(IntegrityFailure, match=f"the row of proposal {damaged} cannot be read"):
        recover(world.deps)
    assert [proposal_id for _, proposal_id in world.starter.queue] == [other]

    seen = world.observed()
    assert damaged in seen.problems["proposals"]
    assert [row.id for row in seen.proposals] == [other]
    found = violations(seen)
    assert (0, "proposals") in {(item.number, item.subject) for item in found}
    assert damaged not in {item.subject for item in found}
