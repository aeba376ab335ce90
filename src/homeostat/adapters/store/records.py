"""Which status commits are still to be made: marked in the transaction that changed the row."""

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, case, select, update
from sqlalchemy.dialects.sqlite import insert

from homeostat.adapters.store.database import Database
from homeostat.adapters.store.row_values import NOT_OURS, malformed, text, whole
from homeostat.adapters.store.tables import proposals, records, tallies
from homeostat.core.errors import Conflict, NotFound
from homeostat.core.ids import ProposalId
from homeostat.model.proposal import Category, Proposal, ProposalState, Severity, Tally
from homeostat.proposals.markdown import month_of


def want_record(connection: Connection, proposal_id: ProposalId, *, version: int, seq: int) -> None:
    """Note that the row's `version`, changed with ledger entry `seq`, has to be shown in Git."""
    fresh = insert(records).values(proposal_id=proposal_id, wanted_version=version, made_version=0, wanted_seq=seq)
    # The place in the queue is that of the oldest change which is not in Git yet.
    was_made = records.c.made_version >= records.c.wanted_version
    connection.execute(
        fresh.on_conflict_do_update(
            index_elements=[records.c.proposal_id],
            set_={
                "wanted_version": version,
                "wanted_seq": case((was_made, seq), else_=records.c.wanted_seq),
            },
        )
    )


def add_to_tally(connection: Connection, proposal: Proposal, *, state: str, by: int) -> None:
    """Count a proposal in (1) or out (-1) of a state; the rest of what it is counted by never changes."""
    fresh = insert(tallies).values(
        month=month_of(proposal),
        state=state,
        category=proposal.category.value,
        severity=proposal.severity.value,
        count=by,
    )
    keys = [column.name for column in tallies.primary_key]
    connection.execute(
        fresh.on_conflict_do_update(index_elements=keys, set_={"count": tallies.c["count"] + fresh.excluded["count"]})
    )


def read_pending(connection: Connection) -> Sequence[tuple[ProposalId, int]]:
    """Return (id, row version) of what is still to be made, the one that lags longest first."""
    query = (
        select(records.c.proposal_id, records.c.wanted_version)
        .where(records.c.made_version < records.c.wanted_version)
        .order_by(records.c.wanted_seq)
    )
    try:
        return [(ProposalId(text(row[0])), whole(row[1])) for row in connection.execute(query)]
    except NOT_OURS as error:
        raise malformed("a record that is to be made", error) from error


def _tally(row: RowMapping) -> Tally:
    try:
        return Tally(
            month=text(row["month"]),
            state=ProposalState(row["state"]),
            category=Category(row["category"]),
            severity=Severity(row["severity"]),
            count=whole(row["count"]),
        )
    except NOT_OURS as error:
        raise malformed(f"a tally of proposals of {str(row['month'])[:40]}", error) from error


class SqlRecords:
    """`homeostat.ports.store.RecordStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def pending_records(self) -> Sequence[tuple[ProposalId, int]]:
        with self._database.reading() as connection:
            return read_pending(connection)

    def tallies(self) -> Sequence[Tally]:
        with self._database.reading() as connection:
            query = select(tallies).where(tallies.c["count"] > 0)
            return [_tally(row) for row in connection.execute(query).mappings()]

    def mark_recorded(self, proposal_id: ProposalId, version: int) -> None:
        """As in the port; `NotFound` for an unknown proposal, `Conflict` for a version yet to come."""
        with self._database.writing() as connection:
            query = select(proposals.c.version).where(proposals.c.id == proposal_id)
            present = connection.execute(query).scalar_one_or_none()
            if present is None:
                raise NotFound("no-such-proposal", f"proposal {proposal_id} does not exist")
            if version > present:
                # Believed, it would hide the next change from Git.
                raise Conflict("unknown-version", f"proposal {proposal_id} is at version {present}, not {version}")
            connection.execute(
                update(records)
                .where(records.c.proposal_id == proposal_id, records.c.made_version < version)
                .values(made_version=version)
            )
