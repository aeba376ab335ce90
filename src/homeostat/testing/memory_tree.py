"""The Merkle tree over the ledger of the store in memory."""

import threading
from collections.abc import Sequence

from homeostat.adapters.store.tree import completed
from homeostat.audit.checkpoint import entry_leaf, sign_checkpoint
from homeostat.audit.merkle import GrowingTree
from homeostat.model.ledger import LedgerEntry
from homeostat.ports.signer import Signer


def nodes_of(entries: Sequence[LedgerEntry]) -> list[tuple[int, bytes]]:
    """Return the rows that a store keeps of the tree over these entries."""
    tree = GrowingTree()
    rows = [(entry.seq, completed(tree, entry.entry_hash)) for entry in entries]
    return [(seq, hashes) for seq, hashes in rows if hashes]


class MemoryTree:
    """Grows by the entries that are new since it was asked last; safe to ask from several threads."""

    def __init__(self) -> None:
        self._tree = GrowingTree()
        self._lock = threading.Lock()

    def checkpoint(self, entries: Sequence[LedgerEntry], signer: Signer) -> str:
        """Return the signed checkpoint over all these entries, of which those seen before come first."""
        with self._lock:
            if len(entries) < self._tree.size:  # a test has cut the ledger
                self._tree = GrowingTree()
            for entry in entries[self._tree.size :]:
                self._tree.append(entry_leaf(entry.entry_hash))
            size, root = self._tree.size, self._tree.root
        return sign_checkpoint(size, root, public_key=signer.public_key(), sign=signer.sign)
