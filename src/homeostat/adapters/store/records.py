"""Which status commits are still to be made: marked in the transaction that changed the row."""

from collections.abc import Sequence

from sqlalchemy import Connection, case, select, update
from sqlalchemy.dialects.sqlite import insert

from homeostat.adapters.store.database import Database
from homeostat.adapters.store.tables import proposals, records
from homeostat.core.errors import Conflict, NotFound
from homeostat.core.ids import ProposalId


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


def read_pending(connection: Connection) -> Sequence[tuple[ProposalId, int]]:
    """Return (id, row version) of what is still to be made, the one that lags longest first."""
    query = (
        select(records.c.proposal_id, records.c.wanted_version)
        .where(records.c.made_version < records.c.wanted_version)
        .order_by(records.c.wanted_seq)
    )
    return [(ProposalId(row.proposal_id), row.wanted_version) for row in connection.execute(query)]


class SqlRecords:
    """`homeostat.ports.store.RecordStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def pending_records(self) -> Sequence[tuple[ProposalId, int]]:
        with self._database.reading() as connection:
            return read_pending(connection)

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
