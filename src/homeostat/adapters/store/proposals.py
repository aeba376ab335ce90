"""Proposals: a row a proposal, guarded by its version."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from heapq import merge
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Select, exc, func, insert, select, tuple_, update

from homeostat.adapters.store.database import Database
from homeostat.adapters.store.documents import decode_proposal, encode_proposal
from homeostat.adapters.store.ledger import LedgerTransaction, SqlLedger
from homeostat.adapters.store.records import add_to_tally, want_record
from homeostat.adapters.store.row_digest import ROW_DIGEST, row_digest
from homeostat.adapters.store.row_values import NOT_OURS, malformed, whole
from homeostat.adapters.store.tables import proposals, tallies, to_us
from homeostat.core.digests import Digest
from homeostat.core.errors import Conflict, NotFound
from homeostat.core.ids import ProposalId
from homeostat.model.ledger import EntryDraft, LedgerEntry
from homeostat.model.proposal import Proposal, ProposalState

_CHUNK = 500
"""Ids in one statement; SQLite takes some thousand parameters."""

_LAST_CODE_POINT = "\U0010ffff"


class SqlProposals:
    """`homeostat.ports.store.ProposalStore`."""

    def __init__(self, database: Database, ledger: SqlLedger) -> None:
        self._database = database
        self._ledger = ledger

    def insert(self, proposal: Proposal, entry: EntryDraft) -> LedgerEntry:
        with self._ledger.transaction() as current:
            row = encode_proposal(proposal)
            try:
                current.connection.execute(insert(proposals), row)
            except exc.IntegrityError as error:
                raise Conflict("proposal-exists", f"there is a proposal {proposal.id} already") from error
            add_to_tally(current.connection, proposal, state=proposal.state.value, by=1)
            written = current.append(_with_digest(entry, row))
            want_record(current.connection, proposal.id, version=proposal.version, seq=written.seq)
            return written

    def save(self, proposal: Proposal, entry: EntryDraft | None) -> Proposal:
        saved = replace(proposal, version=proposal.version + 1)
        row = encode_proposal(saved)
        with self._ledger.transaction() as current:
            here = (proposals.c.id == proposal.id, proposals.c.version == proposal.version)
            before = current.connection.execute(select(proposals.c.state).where(*here)).scalar_one_or_none()
            if before is None or current.connection.execute(update(proposals).where(*here).values(**row)).rowcount != 1:
                raise _refusal(current, proposal)
            if before != saved.state.value:
                add_to_tally(current.connection, saved, state=before, by=-1)
                add_to_tally(current.connection, saved, state=saved.state.value, by=1)
            if entry is not None:
                written = current.append(_with_digest(entry, row))
                want_record(current.connection, saved.id, version=saved.version, seq=written.seq)
        return saved

    def get(self, proposal_id: ProposalId) -> Proposal | None:
        found = self._read(select(proposals).where(proposals.c.id == proposal_id))
        return found[0] if found else None

    def columns(self, proposal_id: ProposalId) -> Mapping[str, Any]:
        """Return a row as it stands, as its digest in the ledger is made from it. `NotFound` when there is none."""
        with self._database.reading() as connection:
            found = connection.execute(select(proposals).where(proposals.c.id == proposal_id)).mappings().one_or_none()
        if found is None:
            raise NotFound("no-such-proposal", f"proposal {proposal_id} does not exist")
        return dict(found)

    def find(
        self,
        *,
        states: frozenset[ProposalState] | None = None,
        prefix: str = "",
        limit: int = 100,
        offset: int = 0,
        after: Proposal | None = None,
    ) -> Sequence[Proposal]:
        wanted = [] if after is None else [_behind(after)]
        if prefix:
            wanted += [proposals.c.id >= prefix, proposals.c.id < prefix + _LAST_CODE_POINT]
        limit, offset = max(limit, 0), max(offset, 0)
        if states is None:
            return self._read(_newest_first(select(proposals).where(*wanted)).limit(limit).offset(offset))
        # The index gives each state's rows in order; of several states the first ones are merged, so that
        # neither all rows of a state nor all rows beside them are looked at.
        key = select(proposals.c.created_us, proposals.c.id)
        with self._database.reading() as connection:
            listed = [
                [(row.created_us, row.id) for row in connection.execute(query.limit(limit + offset))]
                for query in (_newest_first(key.where(proposals.c.state == state.value, *wanted)) for state in states)
            ]
            ids = [identity for _, identity in islice(merge(*listed, reverse=True), offset, offset + limit)]
            found: dict[str, Proposal] = {}
            for start in range(0, len(ids), _CHUNK):
                query = select(proposals).where(proposals.c.id.in_(ids[start : start + _CHUNK]))
                found |= {row["id"]: decode_proposal(row) for row in connection.execute(query).mappings()}
            return [found[identity] for identity in ids]

    def count_by_state(self) -> Mapping[ProposalState, int]:
        query = select(tallies.c.state, func.sum(tallies.c["count"])).group_by(tallies.c.state)
        with self._database.reading() as connection:
            found = [(row[0], row[1]) for row in connection.execute(query) if row[1]]
        try:
            return {ProposalState(state): whole(count) for state, count in found}
        except NOT_OURS as error:
            raise malformed("a tally of proposals", error) from error

    def find_by_diff(self, diff_digest: Digest) -> Sequence[Proposal]:
        return self._read(_newest_first(select(proposals).where(proposals.c.diff_digest == diff_digest)))

    def _read(self, query: Select[tuple[object, ...]]) -> Sequence[Proposal]:
        with self._database.reading() as connection:
            return [decode_proposal(row) for row in connection.execute(query).mappings()]


def _with_digest(entry: EntryDraft, row: Mapping[str, object]) -> EntryDraft:
    return replace(entry, body={**entry.body, ROW_DIGEST: row_digest(row)})


def _behind(row: Proposal) -> ColumnElement[bool]:
    return tuple_(proposals.c.created_us, proposals.c.id) < (to_us(row.created_at), row.id)


def _newest_first(query: Select[tuple[object, ...]]) -> Select[tuple[object, ...]]:
    return query.order_by(proposals.c.created_us.desc(), proposals.c.id.desc())


def _refusal(current: LedgerTransaction, proposal: Proposal) -> Conflict | NotFound:
    present = current.connection.execute(
        select(proposals.c.version).where(proposals.c.id == proposal.id)
    ).scalar_one_or_none()
    if present is None:
        return NotFound("no-such-proposal", f"proposal {proposal.id} does not exist")
    return Conflict(
        "stale-row",
        f"proposal {proposal.id} is at version {present}; this change was made on version {proposal.version}",
        hint="read it again and decide again",
    )
