"""The Merkle tree beside the ledger: it grows with every append, and shows what is in it and what was before."""

import sqlite3
from contextlib import closing

import pytest

from homeostat.adapters.keys import Ed25519Signer
from homeostat.adapters.store import SqlStore
from homeostat.audit.checkpoint import entry_leaf, ledger_key, open_checkpoint
from homeostat.audit.merkle import root_hash, verify_consistency, verify_inclusion
from homeostat.core.errors import IntegrityFailure, InvalidInput
from homeostat.testing.example_rows import SteppingClock, example_entry

SIGNER = Ed25519Signer.generate()
KEY = ledger_key(SIGNER.public_key())


def open_store(folder, **options):
    return SqlStore.open(
        folder / "h.sqlite", signer=SIGNER, clock=SteppingClock(), head_path=folder / "head.json", **options
    )


def fill(store, count, *, at_once=1):
    for _ in range(0, count, at_once):
        with store.ledger.transaction() as current:
            for _ in range(at_once):
                current.append(example_entry("a.b"))


def root_over(store, size):
    return root_hash(bytes.fromhex(entry.entry_hash) for entry in store.ledger.entries(limit=size))


def by_hand(folder, statement, *values):
    with closing(sqlite3.connect(folder / "h.sqlite")) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        return connection.execute(statement, values).fetchall()


@pytest.fixture
def store(tmp_path):
    opened = open_store(tmp_path)
    yield opened
    opened.close()


def test_every_size_has_the_root_of_its_entries_and_proofs_that_hold_against_it(store):
    roots = {}
    for size in range(1, 35):
        fill(store, 1)
        checkpoint = open_checkpoint(store.ledger.checkpoint(), KEY)
        roots[size] = checkpoint.root
        assert (checkpoint.size, checkpoint.root) == (size, root_over(store, size))
    entries = store.ledger.entries()
    for size, root in roots.items():
        for seq in range(1, size + 1):
            proof = store.ledger.inclusion_proof(seq, size)
            assert len(proof) <= (size - 1).bit_length()
            verify_inclusion(seq - 1, size, entry_leaf(entries[seq - 1].entry_hash), proof, root)
            verify_consistency(seq, size, store.ledger.consistency_proof(seq, size), roots[seq], root)


def test_an_empty_ledger_has_the_checkpoint_of_nothing(store):
    checkpoint = open_checkpoint(store.ledger.checkpoint(), KEY)
    assert (checkpoint.size, checkpoint.root) == (0, root_hash([]))


def test_entries_of_one_transaction_and_what_was_rolled_back_leave_the_tree_of_what_was_committed(store):
    fill(store, 9, at_once=3)
    with pytest.raises(RuntimeError), store.ledger.transaction() as current:
        current.append(example_entry("a.b"))
        raise RuntimeError("not committed")
    fill(store, 4)
    assert open_checkpoint(store.ledger.checkpoint(), KEY).root == root_over(store, 13)


def test_two_stores_that_take_turns_grow_one_tree(store, tmp_path):
    other = open_store(tmp_path)
    for _ in range(5):
        fill(store, 1)
        fill(other, 2)
    assert store.ledger.checkpoint() == other.ledger.checkpoint()
    assert open_checkpoint(store.ledger.checkpoint(), KEY).root == root_over(store, 15)
    other.close()


@pytest.mark.parametrize("kept", [0, 2, 6, 12])
def test_a_store_without_a_tree_or_with_the_beginning_of_one_is_caught_up_when_it_is_opened(tmp_path, kept):
    store = open_store(tmp_path)
    fill(store, 13)
    expected = store.ledger.checkpoint()
    store.close()
    rows = by_hand(tmp_path, "SELECT * FROM ledger_nodes ORDER BY seq")
    by_hand(tmp_path, "DELETE FROM ledger_nodes WHERE seq > ?", kept)
    again = open_store(tmp_path)
    assert again.ledger.checkpoint() == expected
    assert again.ledger.grow_tree() == 0
    again.close()
    assert by_hand(tmp_path, "SELECT * FROM ledger_nodes ORDER BY seq") == rows


def test_entries_that_were_cut_off_are_missed_by_the_tree(tmp_path):
    store = open_store(tmp_path)
    fill(store, 4)
    store.close()
    by_hand(tmp_path, "DELETE FROM ledger WHERE seq = 4")
    (tmp_path / "head.json").unlink()
    with pytest.raises(IntegrityFailure) as refused:
        open_store(tmp_path)
    assert refused.value.code == "ledger-truncated"


@pytest.mark.parametrize(
    "statement", ["DELETE FROM ledger_nodes WHERE seq = 4", "UPDATE ledger_nodes SET hashes = x''"]
)
def test_a_node_that_is_gone_is_said_and_not_made_up(store, tmp_path, statement):
    fill(store, 7)
    by_hand(tmp_path, statement)
    with pytest.raises(IntegrityFailure) as refused:
        store.ledger.checkpoint()
    assert refused.value.code == "ledger-tree-damaged"


@pytest.mark.parametrize(("seq", "size"), [(0, 3), (4, 3), (1, 4), (-1, 2), (1, 0)])
def test_what_the_ledger_does_not_have_cannot_be_shown(store, seq, size):
    fill(store, 3)
    for prove in (store.ledger.inclusion_proof, store.ledger.consistency_proof):
        with pytest.raises(InvalidInput):
            prove(seq, size)


@pytest.mark.parametrize("statement", ["DELETE FROM ledger_nodes", "UPDATE ledger_nodes SET hashes = x'00'"])
def test_the_database_itself_lets_the_tree_only_grow(store, tmp_path, statement):
    fill(store, 2)
    with closing(sqlite3.connect(tmp_path / "h.sqlite")) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)


def test_what_an_entry_says_is_what_was_hashed(store):
    fill(store, 2)
    assert b'"kind":"a.b"' in store.ledger.leaf_text(2)
