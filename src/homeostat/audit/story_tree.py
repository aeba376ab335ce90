"""Check 10 of `homeostat.audit.story`: the Merkle tree made anew from the entries, beside what was kept of it.

Two things were kept: the stored nodes, from which the hub makes checkpoints and proofs; and the checkpoints
themselves, in status commits and wherever somebody put one. Nothing of them is taken on trust: the tree that the
entries make is compared with every stored node, and its root at each size with what was signed.
"""

from collections.abc import Iterable, Sequence

from homeostat.audit.checkpoint import entry_leaf, note_of_trailer, open_checkpoint, unlike_roots
from homeostat.audit.merkle import EMPTY_ROOT, GrowingTree
from homeostat.audit.notes import NoteKey
from homeostat.audit.restoration import Explained, Restoration
from homeostat.core.errors import IntegrityFailure
from homeostat.core.ids import CommitId
from homeostat.model.ledger import LedgerEntry


class TreeWalk:
    """The tree over the entries as they are passed by, and what differs from it."""

    def __init__(
        self,
        *,
        nodes: Iterable[tuple[int, object]],
        checkpoints: Sequence[tuple[CommitId, str]],
        kept: Sequence[tuple[str, str]],
        key: NoteKey,
    ) -> None:
        self._nodes = iter(nodes)
        self._key = key
        self._seen = [(commit, _note(value)) for commit, value in checkpoints]
        self._kept = kept
        self._tree = GrowingTree()
        self._completed: list[bytes] = []
        sizes = {_size(note, key) for _, note in (*self._seen, *kept)}
        self._roots: dict[int, bytes | None] = dict.fromkeys(size for size in sizes if size is not None)
        if 0 in self._roots:
            self._roots[0] = EMPTY_ROOT
        self._wrong: list[str] = []

    def take(self, entry: LedgerEntry) -> None:
        """Pass an entry by. After the first that differs nodes are not compared: all after it would differ."""
        self._completed.clear()
        try:
            self._tree.append(entry_leaf(entry.entry_hash), self._on_complete)
        except IntegrityFailure as error:
            self._wrong.append(f"entry {entry.seq}: {error.message}")
            return
        size = self._tree.size
        if size in self._roots:
            self._roots[size] = self._tree.root
        if len(self._completed) > 1 and not self._wrong:
            self._compare(size, b"".join(self._completed[1:]))

    def wrong(self, restored: Sequence[Restoration]) -> list[str]:
        """Return what is wrong, to be asked when all entries were passed by."""
        left = next(self._nodes, None)
        if left is not None and not self._wrong:
            self._wrong.append(f"the tree has nodes of entry {left[0]}, and there are {self._tree.size} entries")
        explained = Explained(restored)
        notes = [
            (f"the checkpoint of status commit {commit[:12]}", note)
            for commit, note in self._seen
            if not explained.explains(commit, _size(note, self._key) or 0)
        ]
        return [*self._wrong, *unlike_roots((*notes, *self._kept), self._key, self._roots.get)]

    @property
    def told(self) -> str:
        """Say what was compared, for when nothing is wrong."""
        kept = f", and {len(self._kept)} kept elsewhere" if self._kept else ""
        return f"{len(self._seen)} checkpoints in Git{kept} saw the same tree over the entries"

    def _on_complete(self, level: int, index: int, hashed: bytes) -> None:
        self._completed.append(hashed)

    def _compare(self, size: int, hashes: bytes) -> None:
        stored = next(self._nodes, None)
        if stored is None:
            self._wrong.append(f"the tree's nodes of entry {size} are missing")
        elif stored != (size, hashes):
            self._wrong.append(f"the tree's nodes of entry {stored[0]} are not what the entries make at {size}")


def _note(value: str) -> str:
    try:
        return note_of_trailer(value)
    except IntegrityFailure:
        return ""  # found by `unlike_roots`: no key has signed it


def _size(note: str, key: NoteKey) -> int | None:
    try:
        return open_checkpoint(note, key).size
    except IntegrityFailure:
        return None
