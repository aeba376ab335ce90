"""The store: opening it safely, and its nouns."""

import logging
from contextlib import AbstractContextManager
from pathlib import Path

from homeostat.adapters.store.actors import SqlActors
from homeostat.adapters.store.canaries import SqlCanaries
from homeostat.adapters.store.database import Database, database_path
from homeostat.adapters.store.findings import SqlFindings
from homeostat.adapters.store.head_file import HeadFile
from homeostat.adapters.store.ledger import SqlLedger
from homeostat.adapters.store.migrate import HEAD_REVISION, current_revision, newer_schema, upgrade
from homeostat.adapters.store.proposals import SqlProposals
from homeostat.adapters.store.records import SqlRecords
from homeostat.adapters.store.snapshot import StoreSnapshot, snapshot_of
from homeostat.adapters.store.vitals import SqlVitals
from homeostat.audit.chain import EMPTY_HEAD, ChainBroken, head_of, verify_integrity
from homeostat.audit.head import HeadFault, HeadFinding, compare_head
from homeostat.core.errors import IntegrityFailure, Unavailable
from homeostat.model.ledger import LedgerHead
from homeostat.ports.clock import Clock
from homeostat.ports.signer import Signer

_log = logging.getLogger(__name__)

_KEEP = "keep the state directory as evidence and run `homeostat verify`"


class SqlStore:
    """Every noun of `homeostat.ports.store` on one SQLite file; usable from many threads at once."""

    def __init__(self, database: Database, ledger: SqlLedger) -> None:
        self._database = database
        self.ledger = ledger
        self.proposals = SqlProposals(database, ledger)
        self.records = SqlRecords(database)
        self.findings = SqlFindings(database, ledger)
        self.vitals = SqlVitals(database)
        self.canaries = SqlCanaries(database)
        self.actors = SqlActors(database)

    @classmethod
    def open(
        cls,
        url_or_path: str | Path,
        *,
        signer: Signer,
        clock: Clock,
        head_path: Path,
        unsafe_skip_head_check: bool = False,
        read_only: bool = False,
        busy_timeout_s: float = 5.0,
    ) -> "SqlStore":
        """Open the database, made and migrated as needed, and check that its ledger's end is the known one.

        1. Migrate, in one transaction. 2. Check the last entry: its hash, and its signature by this
        key. 3. Compare with the head file: one that lags is caught up and logged; one that is ahead
        raises `IntegrityFailure` (``ledger-truncated``), one that differs ``ledger-rewritten``.
        4. Bring the Merkle tree up to the entries, where an earlier version kept none.

        `unsafe_skip_head_check` leaves out 2 to 4 and writes no head file: for verifying, where
        the findings shall be named and not stopped at. `read_only` writes nothing at all, makes no
        file, and refuses a schema that is not this version's.
        """
        database = Database(database_path(url_or_path), busy_timeout_s=busy_timeout_s, read_only=read_only)
        try:
            _prepare_schema(database, read_only=read_only)
            head_file = HeadFile(head_path)
            ledger = SqlLedger(database, signer=signer, clock=clock, head_file=head_file)
            if not unsafe_skip_head_check:
                head, lag = _check_end(ledger, head_file, signer)
                ledger.note_seen(head)
                if lag is None:
                    head_file.note_written(head)
                elif not read_only:
                    _log.warning("the ledger's head file is caught up: %s", lag.detail)
                    head_file.advance(head)
                if not read_only and (grown := ledger.grow_tree()):
                    _log.info("the ledger's Merkle tree was made over %d entries", grown)
        except BaseException:
            database.close()
            raise
        return cls(database, ledger)

    def snapshot(self) -> AbstractContextManager[StoreSnapshot]:
        """Give what an audit compares, as it stands at one moment; see `snapshot_of` for the order."""
        return snapshot_of(self._database)

    def close(self) -> None:
        """Give the connections back. Further use opens new ones: nothing is lost by closing."""
        self._database.close()


def _prepare_schema(database: Database, *, read_only: bool) -> None:
    with database.reading() as connection:
        revision = current_revision(connection)
    if revision == HEAD_REVISION:
        return
    if not read_only:
        with database.writing() as connection:
            upgrade(connection)
        return
    if revision is not None and revision > HEAD_REVISION:
        raise newer_schema(revision)
    raise Unavailable(
        "schema-outdated",
        f"the database has schema {revision}, this version reads {HEAD_REVISION}",
        hint="start the hub once: it brings the database up to date",
    )


def _check_end(ledger: SqlLedger, head_file: HeadFile, signer: Signer) -> tuple[LedgerHead, HeadFinding | None]:
    """Return the head, and how the head file lags it; raise for anything that no crash explains."""
    # The witness is read before the database: a commit in between then looks like lag, not like
    # a database that lost its end.
    file_head = head_file.read()
    head = ledger.head()
    if head.size:
        _check_last_entry(ledger, head, signer)
    report = compare_head(head, file_head, (), hash_at=ledger.hash_at, verify=signer.verify)
    for finding in report.tampering:
        raise _tampered(finding)
    return head, report.lag


def _check_last_entry(ledger: SqlLedger, head: LedgerHead, signer: Signer) -> None:
    # The entry before is taken as it stands; that the last one binds it is what is checked.
    *before, last = ledger.entries(after=max(head.size - 2, 0), limit=2)
    start = head_of(before[0]) if before else EMPTY_HEAD
    report = verify_integrity([last], verify=signer.verify, start=start)
    if isinstance(report, ChainBroken):
        raise IntegrityFailure(
            "ledger-altered",
            f"the end of the ledger does not hold: {report.detail}",
            hint=_KEEP,
            facts={"seq": report.seq},
        )


def _tampered(finding: HeadFinding) -> IntegrityFailure:
    match finding.fault:
        case HeadFault.FILE_AHEAD:
            return IntegrityFailure("ledger-truncated", finding.detail, hint=_KEEP)
        case HeadFault.FILE_DIFFERS:
            return IntegrityFailure("ledger-rewritten", finding.detail, hint=_KEEP)
        case _:
            return IntegrityFailure("ledger-head-forged", finding.detail, hint=_KEEP)
