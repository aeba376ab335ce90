"""Proposals: a row a proposal, guarded by its version."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Select, exc, func, insert, select, update

from homeostat.adapters.store.database import Database
from homeostat.adapters.store.documents import decode_proposal, encode_proposal
from homeostat.adapters.store.ledger import LedgerTransaction, SqlLedger
from homeostat.adapters.store.records import want_record
from homeostat.adapters.store.row_digest import ROW_DIGEST, row_digest
from homeostat.adapters.store.tables import proposals
from homeostat.core.digests import Digest
from homeostat.core.errors import Conflict, NotFound
from homeostat.core.ids import ProposalId
from homeostat.model.ledger import EntryDraft, LedgerEntry
from homeostat.model.proposal import Proposal, ProposalState

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
            written = current.append(_with_digest(entry, row))
            want_record(current.connection, proposal.id, version=proposal.version, seq=written.seq)
            return written

    def save(self, proposal: Proposal, entry: EntryDraft | None) -> Proposal:
        saved = replace(proposal, version=proposal.version + 1)
        row = encode_proposal(saved)
        with self._ledger.transaction() as current:
            guarded = (
                update(proposals)
                .where(proposals.c.id == proposal.id, proposals.c.version == proposal.version)
                .values(**row)
            )
            if current.connection.execute(guarded).rowcount != 1:
                raise _refusal(current, proposal)
            if entry is not None:
                written = current.append(_with_digest(entry, row))
                want_record(current.connection, saved.id, version=saved.version, seq=written.seq)
        return saved

    def get(self, proposal_id: ProposalId) -> Proposal | None:
        found = self._read(select(proposals).where(proposals.c.id == proposal_id))
        return found[0] if found else None

    def find(
        self,
        *,
        states: frozenset[ProposalState] | None = None,
        prefix: str = "",
        limit: int = 100,
        offset: int = 0,
    ) -> Sequence[Proposal]:
        query = select(proposals)
        if states is not None:
            query = query.where(proposals.c.state.in_([state.value for state in states]))
        if prefix:
            query = query.where(proposals.c.id >= prefix, proposals.c.id < prefix + _LAST_CODE_POINT)
        return self._read(_newest_first(query).limit(max(limit, 0)).offset(max(offset, 0)))

    def count_by_state(self) -> Mapping[ProposalState, int]:
        query = select(proposals.c.state, func.count()).group_by(proposals.c.state)
        with self._database.reading() as connection:
            return {ProposalState(row[0]): row[1] for row in connection.execute(query)}

    def find_by_diff(self, diff_digest: Digest) -> Sequence[Proposal]:
        return self._read(_newest_first(select(proposals).where(proposals.c.diff_digest == diff_digest)))

    def _read(self, query: Select[tuple[object, ...]]) -> Sequence[Proposal]:
        with self._database.reading() as connection:
            return [decode_proposal(row) for row in connection.execute(query).mappings()]


def _with_digest(entry: EntryDraft, row: Mapping[str, object]) -> EntryDraft:
    return replace(entry, body={**entry.body, ROW_DIGEST: row_digest(row)})


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
