"""Findings, and the error groups they were made of."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, TypeAlias

from sqlalchemy import Connection, select

from homeostat.adapters.store.database import Database, cursor_of
from homeostat.adapters.store.error_groups import (
    chunks,
    count_groups,
    count_seconds_since,
    note_batches,
    put_group,
    read_groups,
    record_occurrences,
)
from homeostat.adapters.store.ledger import LedgerTransaction, SqlLedger
from homeostat.adapters.store.row_values import NOT_OURS, malformed, text, whole
from homeostat.adapters.store.tables import error_totals, findings, from_us, to_us
from homeostat.adapters.store.together import Together
from homeostat.core.digests import Digest
from homeostat.core.ids import FindingId
from homeostat.model.finding import ErrorGroup, ErrorOccurrence, Finding, FindingState, GroupStanding, Recorded
from homeostat.model.ledger import EntryDraft
from homeostat.ports.store import Decision, decides_nothing

_Row: TypeAlias = Mapping[str, Any]
"""Of the table of findings, by column."""

_COLUMNS = ("id", "state", "title", "severity", "key", "found_us")
_UPSERT = (
    f"INSERT INTO findings ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "  # noqa: S608
    f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS[1:])}"
)
_REQUESTS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class _Order:
    """What one call of `SqlFindings.record` asks for."""

    occurrences: Sequence[tuple[Digest, str, ErrorOccurrence]]
    source: str
    batch: Digest | None
    wanted: Callable[[GroupStanding], bool]
    decide: Callable[[ErrorGroup, Finding | None], Decision]


def _key_of(item: tuple[Digest, str, ErrorOccurrence]) -> Digest:
    return item[0]


class SqlFindings:
    """`homeostat.ports.store.FindingStore`."""

    def __init__(self, database: Database, ledger: SqlLedger) -> None:
        self._database = database
        self._ledger = ledger
        self._together = Together(self._record, at_most=_REQUESTS_AT_ONCE)

    def record(
        self,
        occurrences: Sequence[tuple[Digest, str, ErrorOccurrence]],
        *,
        source: str = "",
        batch: Digest | None = None,
        wanted: Callable[[GroupStanding], bool] = lambda standing: True,
        decide: Callable[[ErrorGroup, Finding | None], Decision] = decides_nothing,
    ) -> Recorded:
        """As in the port. A group that had to make room for others at once is not returned."""
        if not occurrences:
            return Recorded()
        return self._together.do(_Order(occurrences, source, batch, wanted, decide))

    def _record(self, orders: Sequence["_Order"]) -> list[Recorded]:
        with self._ledger.transaction() as current:
            connection = current.connection
            is_fresh = note_batches(connection, [order.batch for order in orders])
            fresh = [order for order, is_new in zip(orders, is_fresh, strict=True) if is_new]
            touched = record_occurrences(connection, [(order.occurrences, order.source) for order in fresh])
            keys = [list(dict.fromkeys(map(_key_of, order.occurrences))) for order in orders]
            if len(fresh) < len(orders):
                touched |= count_groups(connection, chain.from_iterable(keys))
            made = _findings_of(connection, touched)
            return [_settle(current, order, mine, touched, made) for order, mine in zip(orders, keys, strict=True)]

    def put_findings(self, items: Sequence[tuple[Finding, EntryDraft]]) -> Sequence[bool]:
        if not items:
            return []
        with self._ledger.transaction() as current:
            return [_put(current, finding, entry) for finding, entry in items]

    def get_finding(self, finding_id: FindingId) -> Finding | None:
        with self._database.reading() as connection:
            row = connection.execute(select(findings).where(findings.c.id == finding_id)).mappings().one_or_none()
            return None if row is None else _join(connection, [dict(row)])[0]

    def findings(self, *, limit: int = 100) -> Sequence[Finding]:
        query = select(findings).order_by(findings.c.found_us.desc(), findings.c.id).limit(max(limit, 0))
        with self._database.reading() as connection:
            return _join(connection, [dict(row) for row in connection.execute(query).mappings()])

    def count_since(self, key: Digest, since: datetime) -> int:
        """As in the port: exact but for the second that `since` parts, see `count_seconds_since`."""
        with self._database.reading() as connection:
            return count_seconds_since(connection, key, to_us(since))

    def error_counts(self) -> Mapping[str, int]:
        with self._database.reading() as connection:
            rows = connection.execute(select(error_totals)).mappings()
            try:
                return {text(row["severity"]): whole(row["count"]) for row in rows}
            except NOT_OURS as error:
                raise malformed("a total of errors", error) from error


def _settle(
    current: LedgerTransaction,
    order: _Order,
    keys: Sequence[Digest],
    touched: Mapping[Digest, tuple[str, int]],
    made: dict[Digest, _Row],
) -> Recorded:
    """Store what is decided of the groups of one order, now that all are counted."""
    chosen = [key for key in keys if key in touched and order.wanted(_standing(*touched[key], finding=made.get(key)))]
    groups = read_groups(current.connection, chosen)
    fresh = []
    for key, group in groups.items():
        known = made.get(key)
        decided = order.decide(group, None if known is None else _finding(known, group))
        if decided is None:
            continue
        finding, entry = decided
        made[key] = _write(current.connection, finding)
        if known is None or known["state"] != finding.state.value:
            current.append(entry)
            fresh.append(finding)
    return Recorded(groups=tuple(groups.values()), findings=tuple(fresh))


def _put(current: LedgerTransaction, finding: Finding, entry: EntryDraft) -> bool:
    connection = current.connection
    known = connection.execute(select(findings.c.state).where(findings.c.id == finding.id)).scalar_one_or_none()
    put_group(connection, finding.group)
    _write(connection, finding)
    if known == finding.state.value:
        return False
    current.append(entry)
    return True


def _write(connection: Connection, finding: Finding) -> _Row:
    """Insert or replace the row of a finding whose group is there."""
    row = {
        "id": finding.id,
        "state": finding.state.value,
        "title": finding.title,
        "severity": finding.severity,
        "key": finding.group.key,
        "found_us": to_us(finding.found_at),
    }
    cursor_of(connection).execute(_UPSERT, [row[name] for name in _COLUMNS])
    return row


def _findings_of(connection: Connection, keys: Iterable[Digest]) -> dict[Digest, _Row]:
    """Return the rows of the findings that were made of these groups."""
    made: dict[Digest, _Row] = {}
    for chunk in chunks(list(keys)):
        query = select(findings).where(findings.c.key.in_(chunk))
        made |= {row["key"]: dict(row) for row in connection.execute(query).mappings()}
    return made


def _standing(severity: str, count: int, *, finding: _Row | None) -> GroupStanding:
    if finding is None:
        return GroupStanding(severity=severity, count=count, finding_state=None)
    try:
        state = FindingState(finding["state"])
    except NOT_OURS as error:
        raise malformed(f"finding {str(finding['id'])[:40]}", error) from error
    return GroupStanding(severity=severity, count=count, finding_state=state, finding_severity=finding["severity"])


def _join(connection: Connection, rows: Sequence[_Row]) -> list[Finding]:
    groups = read_groups(connection, [Digest(row["key"]) for row in rows])
    return [_finding(row, groups.get(row["key"])) for row in rows]


def _finding(row: _Row, group: ErrorGroup | None) -> Finding:
    try:
        if group is None:
            raise ValueError("there is no error group of its key")
        return Finding(
            id=FindingId(text(row["id"])),
            state=FindingState(row["state"]),
            title=text(row["title"]),
            severity=text(row["severity"]),
            group=group,
            found_at=from_us(row["found_us"]),
        )
    except NOT_OURS as error:
        raise malformed(f"finding {str(row['id'])[:40]}", error) from error
