"""Everything that an audit compares, as it stood at one moment, even while a hub is writing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, select

from homeostat.adapters.store.actors import read_actors
from homeostat.adapters.store.database import Database
from homeostat.adapters.store.documents import decode_proposal
from homeostat.adapters.store.ledger import read_entries, read_head
from homeostat.adapters.store.records import read_pending
from homeostat.adapters.store.row_digest import row_digest
from homeostat.adapters.store.tables import proposals
from homeostat.audit.chain import EMPTY_HEAD
from homeostat.core.errors import IntegrityFailure
from homeostat.model.actor import Actor
from homeostat.model.ledger import LedgerEntry, LedgerHead
from homeostat.model.proposal import Proposal

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSnapshot:
    """Rows and entries of one state of the database. A part that could not be read is empty, and in `problems`."""

    entries: Sequence[LedgerEntry]
    head: LedgerHead
    proposals: Sequence[Proposal]
    unrecorded: frozenset[str]
    """Ids of proposals whose status commit is still to be made."""

    row_digests: Mapping[str, str]
    """Proposal id → the digest of its row as it was read."""

    actors: Sequence[Actor]

    problems: Mapping[str, str]
    """``ledger|proposals`` → why, as `homeostat.audit.story` wants it."""


def take_snapshot(database: Database) -> StoreSnapshot:
    """Read all of it in one transaction.

    Whoever compares it with witnesses outside (head file, Git) must read those *first*: a commit in
    between then looks like a witness that lags, and not like a database that lost its end.
    """
    problems: dict[str, str] = {}
    with database.reading() as connection:
        return StoreSnapshot(
            entries=_noting(problems, "ledger", [], lambda: read_entries(connection)),
            head=_noting(problems, "ledger", EMPTY_HEAD, lambda: read_head(connection)),
            proposals=_noting(problems, "proposals", [], lambda: _proposals(connection)),
            unrecorded=frozenset(proposal_id for proposal_id, _ in read_pending(connection)),
            row_digests={row["id"]: row_digest(dict(row)) for row in connection.execute(select(proposals)).mappings()},
            actors=read_actors(connection),
            problems=problems,
        )


def _noting(problems: dict[str, str], part: str, instead: _T, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except IntegrityFailure as error:
        problems[part] = error.message
        return instead


def _proposals(connection: Connection) -> list[Proposal]:
    query = select(proposals).order_by(proposals.c.created_us, proposals.c.id)
    return [decode_proposal(row) for row in connection.execute(query).mappings()]
