"""Everything that an audit compares, as it stands at one moment, even while a hub is writing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, select

from homeostat.adapters.store.actors import read_actors, read_token_digests
from homeostat.adapters.store.database import Database
from homeostat.adapters.store.documents import decode_proposal
from homeostat.adapters.store.failures import translated
from homeostat.adapters.store.ledger import read_head, stream_entries, stream_moves
from homeostat.adapters.store.records import read_pending
from homeostat.adapters.store.row_digest import row_digest
from homeostat.adapters.store.tables import proposals
from homeostat.adapters.store.tree import StoredTree
from homeostat.audit.chain import EMPTY_HEAD
from homeostat.core.errors import HomeostatError, IntegrityFailure
from homeostat.core.ids import ActorId
from homeostat.model.actor import Actor
from homeostat.model.ledger import LedgerEntry, LedgerHead
from homeostat.model.proposal import Proposal

_T = TypeVar("_T")

_ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Some rows, and the ledger's entries of the same proposals, also of such as have entries but no row."""

    proposals: Sequence[Proposal]
    moves: Sequence[LedgerEntry]
    digests: Mapping[str, str]
    """Proposal id → the digest of its row as it was read."""


@dataclass(slots=True, kw_only=True)
class StoreSnapshot:
    """One state of the database. A part that could not be read ends early, and is in `problems` then."""

    connection: Connection
    head: LedgerHead
    unrecorded: frozenset[str]
    """Ids of proposals whose status commit is still to be made."""

    actors: Sequence[Actor]
    token_digests: Mapping[ActorId, str]
    """Actor → the digest of its token."""

    problems: dict[str, str]
    """``ledger|proposals`` → why, as `homeostat.audit.story` wants it. It may grow while the snapshot is read."""

    def entries(self) -> Iterator[LedgerEntry]:
        """Yield all entries, in order."""
        return self._noting("ledger", stream_entries(self.connection))

    def nodes(self) -> Iterator[tuple[int, object]]:
        """Yield the rows of the Merkle tree, by entry, as they stand."""
        return self._noting("ledger", StoredTree(self.connection).rows())

    def rows(self, *, at_once: int = _ROWS_AT_ONCE) -> Iterator[Rows]:
        """Yield all rows in the order of their ids, so many at a time."""
        return self._noting("proposals", self._rows(at_once))

    def _rows(self, at_once: int) -> Iterator[Rows]:
        last: str | None = None
        while True:
            query = select(proposals).order_by(proposals.c.id).limit(at_once)
            if last is not None:
                query = query.where(proposals.c.id > last)
            found = self.connection.execute(query).mappings().all()
            until = found[-1]["id"] if len(found) == at_once else None
            yield Rows(
                proposals=[decode_proposal(row) for row in found],
                moves=list(self._noting("ledger", stream_moves(self.connection, after=last, until=until))),
                digests={row["id"]: row_digest(dict(row)) for row in found},
            )
            if until is None:
                return
            last = until

    def _noting(self, part: str, items: Iterator[_T]) -> Iterator[_T]:
        try:
            with translated():
                yield from items
        except HomeostatError as error:
            self.problems[part] = error.message


@contextmanager
def snapshot_of(database: Database) -> Iterator[StoreSnapshot]:
    """Give one state of the database, in one transaction, for as long as the context lasts.

    Whoever compares it with witnesses outside (head file, Git) must read those *first*: a commit in
    between then looks like a witness that lags, and not like a database that lost its end.
    """
    problems: dict[str, str] = {}
    with database.reading() as connection:
        yield StoreSnapshot(
            connection=connection,
            head=_noting(problems, "ledger", EMPTY_HEAD, lambda: read_head(connection)),
            unrecorded=_noting(
                problems, "git", frozenset(), lambda: frozenset(found for found, _ in read_pending(connection))
            ),
            actors=_noting(problems, "actors", (), lambda: read_actors(connection)),
            token_digests=_noting(problems, "actors", {}, lambda: read_token_digests(connection)),
            problems=problems,
        )


def _noting(problems: dict[str, str], part: str, instead: _T, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except IntegrityFailure as error:
        problems[part] = error.message
        return instead
