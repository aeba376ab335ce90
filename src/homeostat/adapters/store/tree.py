"""The Merkle tree over the ledger, kept as it grows: one row for every second entry.

An entry completes as many trees above itself as its number can be halved. Their hashes, from the lowest up, are
the row of its number, so that rows are only ever added at the end, and any node is found at once: that of a level
and an index in the row of the last entry below it. Leaves are not kept; they come from the entries.

All of it follows from the entries. A store of before, and whatever a crash could leave, is caught up when the
store is opened, by the code that every append runs; `homeostat verify` makes the tree anew and compares.
"""

import sqlite3
from collections.abc import Iterator

from sqlalchemy import Connection

from homeostat.adapters.store.database import cursor_of
from homeostat.audit.checkpoint import entry_leaf
from homeostat.audit.merkle import HASH_BYTES, GrowingTree, edge_of
from homeostat.core.errors import IntegrityFailure
from homeostat.model.ledger import LedgerHead

_INSERT = "INSERT INTO ledger_nodes (seq, hashes) VALUES (?, ?)"
_NODES = "SELECT hashes FROM ledger_nodes WHERE seq = ?"
_LAST = "SELECT max(seq) FROM ledger_nodes"
_ENTRY = "SELECT entry_hash FROM ledger WHERE seq = ?"
_ENTRIES = "SELECT entry_hash FROM ledger WHERE seq > ? AND seq <= ? ORDER BY seq"
_ALL = "SELECT seq, hashes FROM ledger_nodes ORDER BY seq"
_KEEP = "keep the state directory as evidence and run `homeostat verify`"


class StoredTree:
    """The nodes as one connection sees them; `complete` is what proofs and roots are made from."""

    def __init__(self, connection: Connection) -> None:
        self._cursor = cursor_of(connection)

    def complete(self, level: int, index: int) -> bytes:
        """Return the hash over the entries ``index << level`` to the next; `IntegrityFailure` when it is not there."""
        last = (index + 1) << level
        if level == 0:
            row = self._cursor.execute(_ENTRY, (last,)).fetchone()
            return entry_leaf(row[0]) if row is not None and isinstance(row[0], str) else _damaged(last)
        row = self._cursor.execute(_NODES, (last,)).fetchone()
        if row is None or not isinstance(row[0], bytes) or len(row[0]) < level * HASH_BYTES:
            return _damaged(last)
        return row[0][(level - 1) * HASH_BYTES : level * HASH_BYTES]

    def rows(self) -> Iterator[tuple[int, object]]:
        """Yield every row, by number."""
        yield from self._cursor.execute(_ALL)


def add(cursor: sqlite3.Cursor, tree: GrowingTree, entry_hash: str) -> None:
    """Append an entry to the tree, and keep what it completes."""
    hashes = completed(tree, entry_hash)
    if hashes:
        cursor.execute(_INSERT, (tree.size, hashes))


def completed(tree: GrowingTree, entry_hash: str) -> bytes:
    """Append an entry to the tree; return the hashes of the trees above it that are complete now, joined."""
    found: list[bytes] = []
    tree.append(entry_leaf(entry_hash), lambda level, index, hashed: found.append(hashed))
    return b"".join(found[1:])


def lag(connection: Connection, head: LedgerHead) -> int:
    """Return how many entries the rows do not know yet; 1 where only the last one is, which completes nothing."""
    known: int = cursor_of(connection).execute(_LAST).fetchone()[0] or 0
    if known > head.size:
        raise IntegrityFailure(
            "ledger-truncated",
            f"the ledger's tree knows entry {known}, but its entries end at {head.size}",
            hint=_KEEP,
        )
    return head.size - known


def grown(connection: Connection, head: LedgerHead) -> GrowingTree:
    """Return the tree over all entries. What its rows lack is made up for, which takes a write transaction."""
    behind = lag(connection, head)
    stored = StoredTree(connection)
    if behind <= 1:
        return GrowingTree(head.size, edge_of(head.size, stored.complete))
    known = head.size - behind
    tree = GrowingTree(known, edge_of(known, stored.complete))
    reading, writing = cursor_of(connection), cursor_of(connection)
    for (entry_hash,) in reading.execute(_ENTRIES, (known, head.size)):
        add(writing, tree, entry_hash if isinstance(entry_hash, str) else "")
    if tree.size != head.size:
        _damaged(tree.size + 1)
    return tree


def _damaged(entry: int) -> bytes:
    raise IntegrityFailure(
        "ledger-tree-damaged", f"the ledger's tree lacks what entry {entry} completes, or the entry", hint=_KEEP
    )
