"""The ledger in the database: entries are computed inside the transaction that stores them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import msgspec
from msgspec import structs
from sqlalchemy import Connection, select

from homeostat.adapters.store.database import Database, cursor_of
from homeostat.adapters.store.head_file import HeadFile
from homeostat.adapters.store.tables import ledger
from homeostat.adapters.store.tree import StoredTree, add, grown, lag
from homeostat.audit.chain import EMPTY_HEAD, append, hashed_bytes, head_of
from homeostat.audit.checkpoint import sign_checkpoint
from homeostat.audit.merkle import GrowingTree, consistency_proof, inclusion_proof, stretch_root
from homeostat.audit.proposal_story import PROPOSAL_PREFIX
from homeostat.audit.restoration import RESTORED, Restoration, restorations
from homeostat.core.errors import IntegrityFailure, InvalidInput
from homeostat.model.ledger import EntryDraft, LedgerEntry, LedgerHead
from homeostat.ports.clock import Clock
from homeostat.ports.signer import Signer

_COLUMNS = ("seq", "at", "kind", "actor", "subject", "body", "prev_hash", "entry_hash", "signature")
"""In the order of the fields of `LedgerEntry`."""

_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM ledger"  # noqa: S608 - names of ours
_READ = f"{_SELECT} WHERE seq > ? ORDER BY seq LIMIT ?"
_READ_ABOUT = f"{_SELECT} WHERE subject = ? AND seq > ? ORDER BY seq LIMIT ?"
_IS_MOVE = "kind >= ? AND kind < ?"
_ROWS_AT_ONCE = 100
"""So few that they are still in the processor's cache when they are verified: a sixth less than with a thousand."""
_INSERT = f"INSERT INTO ledger ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608

TreeEdge: TypeAlias = tuple[LedgerHead, tuple[bytes, ...]]
"""The right edge of the Merkle tree, and the head of the ledger that it is the edge of."""


class LedgerTransaction:
    """A write transaction in which entries can be appended; they are durable when it has ended."""

    def __init__(
        self, connection: Connection, *, signer: Signer, clock: Clock, seen: LedgerHead, edge: "TreeEdge"
    ) -> None:
        self.connection = connection
        self._signer = signer
        self._clock = clock
        self._seen = seen
        self._edge = edge
        self._tree = GrowingTree()
        self.head: LedgerHead | None = None
        """The head after the last entry appended here; None before the first."""

    @property
    def edge(self) -> "TreeEdge":
        """The tree after the last entry appended here."""
        return self.head or EMPTY_HEAD, self._tree.edge

    def append(self, draft: EntryDraft) -> LedgerEntry:
        if self.head is None:
            self.head = read_head(self.connection)
            _check_not_swapped(self.connection, self.head, self._seen)
            known, edge = self._edge
            if known == self.head:
                self._tree = GrowingTree(known.size, edge)
            else:  # another process wrote, or the last transaction's end was not heard of
                self._tree = grown(self.connection, self.head)
        entry = append(self.head, draft, at=self._clock.now(), sign=self._signer.sign)
        cursor = cursor_of(self.connection)
        cursor.execute(_INSERT, structs.astuple(entry))
        add(cursor, self._tree, entry.entry_hash)
        self.head = head_of(entry)
        return entry


class SqlLedger:
    """`homeostat.ports.store.LedgerStore`, and the transactions of every noun that writes entries."""

    def __init__(self, database: Database, *, signer: Signer, clock: Clock, head_file: HeadFile) -> None:
        self._database = database
        self._signer = signer
        self._clock = clock
        self._head_file = head_file
        self._seen = EMPTY_HEAD
        self._edge: TreeEdge = (EMPTY_HEAD, ())
        self._listeners: list[Callable[[], None]] = []

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Have this called after every transaction that appended something. It must be quick, and never raise."""
        self._listeners.append(listener)

    @property
    def lagging_writes(self) -> int:
        """How often the head file could not be written since the store was opened."""
        return self._head_file.failures

    @contextmanager
    def transaction(self) -> Iterator[LedgerTransaction]:
        """Write rows and entries together.

        Order: entry and row → commit → head file. A crash after the commit leaves the head file
        behind, which the next start catches up; the other order could leave it ahead of the
        database, which is what tampering looks like.
        """
        with self._database.writing() as connection:
            current = LedgerTransaction(
                connection, signer=self._signer, clock=self._clock, seen=self._seen, edge=self._edge
            )
            yield current
        if current.head is not None:
            self._edge = current.edge
            self.note_seen(current.head)
            self._head_file.advance(current.head)
            for listener in self._listeners:
                listener()

    def append(self, entry: EntryDraft) -> LedgerEntry:
        with self.transaction() as current:
            return current.append(entry)

    def entries(self, *, after: int = 0, limit: int = 1000, subject: str | None = None) -> Sequence[LedgerEntry]:
        """Return entries in order. `IntegrityFailure` for a row that no writer of ours could have left."""
        with self._database.reading() as connection:
            if subject is not None:
                return list(_streamed(connection, _READ_ABOUT, (subject, after, max(limit, 0))))
            return list(stream_entries(connection, after=after, limit=max(limit, 0)))

    def head(self) -> LedgerHead:
        with self._database.reading() as connection:
            return read_head(connection)

    def checkpoint(self) -> str:
        """Return the signed note of the ledger as it is now; `homeostat.audit.checkpoint` says its form."""
        with self._database.reading() as connection:
            head = read_head(connection)
            root = stretch_root(0, head.size, StoredTree(connection).complete)
        return sign_checkpoint(head.size, root, public_key=self._signer.public_key(), sign=self._signer.sign)

    def inclusion_proof(self, seq: int, size: int) -> Sequence[bytes]:
        """Return the proof that entry `seq` is among the first `size`; `InvalidInput` when it is not, or they are not.

        As RFC 6962, section 2.1.1 has it, from the leaf upwards; at most 63 hashes.
        """
        with self._database.reading() as connection:
            _check_sizes(seq, size, read_head(connection).size)
            return inclusion_proof(seq - 1, size, StoredTree(connection).complete)

    def consistency_proof(self, size: int, later_size: int) -> Sequence[bytes]:
        """Return the proof that the ledger of `size` entries is the beginning of that of `later_size`."""
        with self._database.reading() as connection:
            _check_sizes(size, later_size, read_head(connection).size)
            return consistency_proof(size, later_size, StoredTree(connection).complete)

    def leaf_text(self, seq: int) -> bytes:
        """Return what was hashed of an entry: its number, time, kind, actor, subject, body, and what was before it."""
        with self._database.reading() as connection:
            _check_sizes(seq, seq, read_head(connection).size)
            *before, entry = stream_entries(connection, after=max(seq - 2, 0), limit=min(seq, 2))
        return hashed_bytes(entry, before[0].signature if before else "")

    def grow_tree(self) -> int:
        """Bring the Merkle tree up to the entries, of a store of before; return how many it did not know."""
        with self._database.reading() as connection:
            behind = lag(connection, read_head(connection))
        if behind > 1:
            with self._database.writing() as connection:
                grown(connection, read_head(connection))
        return behind if behind > 1 else 0

    def hash_at(self, seq: int) -> str | None:
        """Return the hash of entry `seq`, None where there is no such entry."""
        with self._database.reading() as connection:
            return _hash_at(connection, seq)

    def restorations(self) -> Sequence[Restoration]:
        """Return what the ledger says of restorations from a backup."""
        with self._database.reading() as connection:
            places = connection.execute(select(ledger.c.seq).where(ledger.c.kind == RESTORED)).scalars().all()
            return restorations(
                entry for seq in sorted(places) for entry in stream_entries(connection, after=seq - 1, limit=1)
            )

    def note_seen(self, head: LedgerHead) -> None:
        """Remember how far the ledger was seen; a database that holds less later was exchanged."""
        if head.size > self._seen.size:
            self._seen = head


def read_head(connection: Connection) -> LedgerHead:
    """Return the head as the last row has it, `EMPTY_HEAD` when there is no row."""
    query = select(ledger.c.seq, ledger.c.entry_hash, ledger.c.signature).order_by(ledger.c.seq.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    if row is None:
        return EMPTY_HEAD
    return LedgerHead(size=row.seq, entry_hash=row.entry_hash, signature=row.signature)


def _check_sizes(smaller: int, greater: int, size: int) -> None:
    if not 1 <= smaller <= greater <= size:
        raise InvalidInput(
            "ledger-range",
            f"the ledger has {size} entries: {smaller} of {greater} cannot be shown",
            hint="count entries from 1, and no further than `homeostat ledger checkpoint` says",
        )


def _hash_at(connection: Connection, seq: int) -> str | None:
    return connection.execute(select(ledger.c.entry_hash).where(ledger.c.seq == seq)).scalar_one_or_none()


def _check_not_swapped(connection: Connection, head: LedgerHead, seen: LedgerHead) -> None:
    """Refuse to write on a database that lost what this process has seen in it."""
    if seen.size == 0 or (head.size == seen.size and head.entry_hash == seen.entry_hash):
        return
    if _hash_at(connection, seen.size) == seen.entry_hash:
        return
    raise IntegrityFailure(
        "ledger-truncated",
        f"the database was exchanged while it was open: entry {seen.size} is not there or not the same any more",
        hint="stop the hub and run `homeostat verify`",
    )


def stream_entries(connection: Connection, *, after: int = 0, limit: int = -1) -> Iterator[LedgerEntry]:
    """Yield entries in order, all of them where no limit is given, some of them in memory at one time.

    Past SQLAlchemy, and many rows at a time: whoever verifies a ledger reads all of it. Rows are read
    strictly, so that every field is text; whether it is the text that was hashed, the chain says.
    """
    return _streamed(connection, _READ, (after, limit))


def stream_moves(connection: Connection, *, after: str | None, until: str | None) -> Iterator[LedgerEntry]:
    """Yield the entries of kind ``proposal.*`` whose subjects lie in (after, until], by subject and then in order."""
    bounds = [("subject > ?", after), ("subject <= ?", until)]
    conditions = [_IS_MOVE, *(condition for condition, value in bounds if value is not None)]
    values = [PROPOSAL_PREFIX, PROPOSAL_PREFIX + chr(0x10FFFF), *(value for _, value in bounds if value is not None)]
    return _streamed(connection, f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY subject, seq", tuple(values))


def _streamed(connection: Connection, query: str, parameters: tuple[object, ...]) -> Iterator[LedgerEntry]:
    cursor = cursor_of(connection)
    try:
        cursor.execute(query, parameters)
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            try:
                entries = msgspec.convert(rows, list[LedgerEntry])
            except msgspec.ValidationError as error:
                raise _malformed(rows, error) from error
            yield from entries
    finally:
        cursor.close()


def _malformed(rows: Sequence[Any], error: Exception) -> IntegrityFailure:
    seq = next((row[0] for row in rows if not _is_readable(row)), "?")
    return IntegrityFailure(
        "ledger-entry-malformed",
        f"ledger entry {seq} was altered: {error}",
        hint="keep the state directory as evidence and run `homeostat verify`",
        facts={"seq": str(seq)},
    )


def _is_readable(row: Any) -> bool:
    try:
        msgspec.convert(row, LedgerEntry)
    except msgspec.ValidationError:
        return False
    return True
