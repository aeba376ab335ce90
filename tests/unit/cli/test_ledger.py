"""`homeostat ledger`: what somebody takes away is enough to hold the ledger to it later."""

import json
import sqlite3
from base64 import b64decode
from contextlib import closing

import pytest
from real_world import RealWorld

from homeostat.audit.checkpoint import entry_leaf, open_checkpoint
from homeostat.audit.merkle import verify_consistency, verify_inclusion
from homeostat.audit.notes import NoteKey


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = RealWorld(tmp_path)
    monkeypatch.chdir(made.root)
    yield made
    made.close()


def test_an_entry_and_the_ledger_of_before_are_shown_against_a_checkpoint(world, typed):
    world.propose()
    before = json.loads(typed("ledger", "checkpoint", "--json").out)
    key = NoteKey.parse(before["key"])
    old = open_checkpoint(before["checkpoint"], key)
    world.apply(world.deps.proposals.find()[0].id)

    grown = json.loads(typed("ledger", "prove", "--since", old.size).out)
    now = open_checkpoint(grown["checkpoint"], key)
    assert now.size > old.size
    verify_consistency(old.size, now.size, [b64decode(one) for one in grown["proof"]], old.root, now.root)

    shown = json.loads(typed("ledger", "prove", "2", "--json").out)
    proof = [b64decode(one) for one in shown["proof"]]
    (entry,) = world.deps.ledger.entries(after=1, limit=1)
    verify_inclusion(1, now.size, entry_leaf(entry.entry_hash), proof, now.root)
    assert json.loads(shown["said"])["kind"] == entry.kind

    lines = typed("ledger", "prove", "2").out.split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1" and lines[2] == "index 1"
    assert b64decode(lines[1].removeprefix("extra ")).decode() == shown["said"]
    assert lines[3 : lines.index("")] == shown["proof"]
    assert "\n".join(lines[lines.index("") + 1 :]) == shown["checkpoint"]


def test_a_kept_checkpoint_holds_and_finds_what_was_done_to_the_ledger_since(world, typed, tmp_path):
    world.propose()
    kept = tmp_path / "kept.txt"
    kept.write_text(typed("ledger", "checkpoint").out)
    assert typed("verify", "--checkpoint", kept).code == 0
    kept.write_text(kept.read_text().replace("\n", " ", 1))
    answer = typed("verify", "--checkpoint", kept)
    assert answer.code == 5 and "FAIL 10." in answer.out
    assert typed("verify", "--checkpoint", tmp_path / "none.txt").code == 2


def test_a_stored_node_that_somebody_altered_is_found(world, typed):
    world.propose()
    with closing(sqlite3.connect(world.state_dir / "homeostat.sqlite")) as connection, connection:
        connection.execute("DROP TRIGGER ledger_nodes_no_update")
        connection.execute("UPDATE ledger_nodes SET hashes = zeroblob(32) WHERE seq = 2")
    answer = typed("verify")
    assert answer.code == 5 and "FAIL 10. Merkle tree" in answer.out


def test_checkpoints_stand_in_every_status_commit(world, typed):
    world.propose()
    checks = {item["number"]: item for item in json.loads(typed("verify", "--json").out)["checks"]}
    heads = len(world.deps.record_branch.trailers("Homeostat-Ledger"))
    assert heads and f"{heads} checkpoints in Git" in checks[10]["detail"]


@pytest.mark.parametrize("words", [("prove",), ("prove", "1", "--since", "1"), ("prove", "999")])
def test_what_cannot_be_shown_is_refused_with_a_way_out(world, typed, words):
    answer = typed("ledger", *words)
    assert answer.code == 2 and "error[ledger-range]" in answer.err and "\nhint: " in answer.err


def test_where_there_is_no_state_nothing_is_made(typed, repository):
    assert typed("ledger", "checkpoint").code == 1
    assert not (repository / ".homeostat").exists()
