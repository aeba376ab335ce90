"""Findings, and the error groups they were made of."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, select
from sqlalchemy.dialects.sqlite import Insert, insert

from homeostat.adapters.store.database import Database
from homeostat.adapters.store.error_groups import (
    chunks,
    count_groups,
    count_seconds_since,
    note_batch,
    put_group,
    read_groups,
    record_occurrences,
)
from homeostat.adapters.store.ledger import LedgerTransaction, SqlLedger
from homeostat.adapters.store.tables import error_totals, findings, from_us, to_us
from homeostat.core.digests import Digest
from homeostat.core.ids import FindingId
from homeostat.model.finding import ErrorGroup, ErrorOccurrence, Finding, FindingState, GroupStanding
from homeostat.model.ledger import EntryDraft


def _upsert() -> Insert:
    upsert = insert(findings)
    columns = {column.name: upsert.excluded[column.name] for column in findings.c if column.name != "id"}
    return upsert.on_conflict_do_update(index_elements=["id"], set_=columns)


_UPSERT = _upsert()


class SqlFindings:
    """`homeostat.ports.store.FindingStore`."""

    def __init__(self, database: Database, ledger: SqlLedger) -> None:
        self._database = database
        self._ledger = ledger

    def record(
        self,
        occurrences: Sequence[tuple[Digest, str, ErrorOccurrence]],
        *,
        source: str = "",
        batch: Digest | None = None,
        wanted: Callable[[GroupStanding], bool] = lambda standing: True,
    ) -> Sequence[ErrorGroup]:
        """As in the port. A group that had to make room for others at once is not returned."""
        if not occurrences:
            return []
        with self._database.writing() as connection:
            if batch is not None and not note_batch(connection, batch):
                touched = count_groups(connection, dict.fromkeys(key for key, _, _ in occurrences))
            else:
                touched = record_occurrences(connection, occurrences, source=source)
            made = _findings_of(connection, touched)
            chosen = [
                key for key, (severity, count) in touched.items() if wanted(_standing(severity, count, made.get(key)))
            ]
            return list(read_groups(connection, chosen).values())

    def put_findings(self, items: Sequence[tuple[Finding, EntryDraft]]) -> Sequence[bool]:
        if not items:
            return []
        with self._ledger.transaction() as current:
            return [_put(current, finding, entry) for finding, entry in items]

    def get_finding(self, finding_id: FindingId) -> Finding | None:
        with self._database.reading() as connection:
            row = connection.execute(select(findings).where(findings.c.id == finding_id)).mappings().one_or_none()
            return None if row is None else _join(connection, [row])[0]

    def findings(self, *, limit: int = 100) -> Sequence[Finding]:
        query = select(findings).order_by(findings.c.found_us.desc(), findings.c.id).limit(max(limit, 0))
        with self._database.reading() as connection:
            return _join(connection, connection.execute(query).mappings().all())

    def count_since(self, key: Digest, since: datetime) -> int:
        """As in the port: exact but for the second that `since` parts, see `count_seconds_since`."""
        with self._database.reading() as connection:
            return count_seconds_since(connection, key, to_us(since))

    def error_counts(self) -> Mapping[str, int]:
        with self._database.reading() as connection:
            rows = connection.execute(select(error_totals)).mappings()
            return {row["severity"]: row["count"] for row in rows}


def _put(current: LedgerTransaction, finding: Finding, entry: EntryDraft) -> bool:
    row = {
        "id": finding.id,
        "state": finding.state.value,
        "title": finding.title,
        "severity": finding.severity,
        "key": finding.group.key,
        "found_us": to_us(finding.found_at),
    }
    connection = current.connection
    known = connection.execute(select(findings.c.state).where(findings.c.id == finding.id)).scalar_one_or_none()
    put_group(connection, finding.group)
    connection.execute(_UPSERT, row)
    if known == finding.state.value:
        return False
    current.append(entry)
    return True


def _findings_of(connection: Connection, keys: Iterable[Digest]) -> dict[Digest, RowMapping]:
    """Return state and severity of the findings that were made of these groups."""
    made: dict[Digest, RowMapping] = {}
    for chunk in chunks(list(keys)):
        query = select(findings.c.key, findings.c.state, findings.c.severity).where(findings.c.key.in_(chunk))
        made |= {row["key"]: row for row in connection.execute(query).mappings()}
    return made


def _standing(severity: str, count: int, finding: RowMapping | None) -> GroupStanding:
    if finding is None:
        return GroupStanding(severity=severity, count=count, finding_state=None)
    return GroupStanding(
        severity=severity,
        count=count,
        finding_state=FindingState(finding["state"]),
        finding_severity=finding["severity"],
    )


def _join(connection: Connection, rows: Sequence[RowMapping]) -> list[Finding]:
    groups = read_groups(connection, [Digest(row["key"]) for row in rows])
    return [
        Finding(
            id=FindingId(row["id"]),
            state=FindingState(row["state"]),
            title=row["title"],
            severity=row["severity"],
            group=groups[row["key"]],
            found_at=from_us(row["found_us"]),
        )
        for row in rows
    ]
