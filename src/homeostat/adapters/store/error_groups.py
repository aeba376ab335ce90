"""Counting cleaned occurrences into their groups, and reading the groups back.

Bounded in every direction: groups by `MAX_ERROR_TEMPLATES` (`homeostat.telemetry.making_room` says which
go; one that a finding was made of stays), samples by `MAX_SAMPLES_PER_TEMPLATE` (the newest stay), and time by
seconds, each holding a count with its first and last moment.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, select
from sqlalchemy import insert as plain_insert
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.sql.compiler import SQLCompiler

from homeostat.adapters.store.sample_document import decode_sample, encode_sample
from homeostat.adapters.store.tables import (
    error_batches,
    error_groups,
    error_samples,
    error_seconds,
    error_totals,
    findings,
    from_us,
    to_us,
)
from homeostat.core.digests import Digest
from homeostat.core.ids import CommitId
from homeostat.core.limits import MAX_BATCHES_REMEMBERED, MAX_SAMPLES_PER_CALL, MAX_SAMPLES_PER_TEMPLATE
from homeostat.model.finding import CodeLocation, ErrorGroup, ErrorOccurrence
from homeostat.telemetry.making_room import Standing, choose_to_go, place_of, source_of_group, surplus_of

_RANK = {"warning": 0, "error": 1, "critical": 2}
_SECOND_US = 1_000_000
_CHUNK = 500
"""Keys in one statement; SQLite takes some thousand parameters."""


def _upsert_group() -> Insert:
    upsert = insert(error_groups)
    columns = {column.name: upsert.excluded[column.name] for column in error_groups.c if column.name != "key"}
    return upsert.on_conflict_do_update(index_elements=["key"], set_=columns)


def _upsert_second() -> Insert:
    upsert = insert(error_seconds)
    new = upsert.excluded
    changed = {
        "count": error_seconds.c["count"] + new["count"],
        "first_us": func.min(error_seconds.c.first_us, new.first_us),
        "last_us": func.max(error_seconds.c.last_us, new.last_us),
    }
    return upsert.on_conflict_do_update(index_elements=["key", "second"], set_=changed)


def _upsert_total() -> Insert:
    upsert = insert(error_totals)
    changed = {"count": error_totals.c["count"] + upsert.excluded["count"]}
    return upsert.on_conflict_do_update(index_elements=["severity"], set_=changed)


def _prepared(statement: Insert) -> tuple[str, tuple[str, ...]]:
    """Return its SQL, and the columns in the order of its parameters.

    Given to the driver as tuples: SQLAlchemy takes longer to bring each row into that form than SQLite to write it.
    """
    compiled = statement.compile(dialect=sqlite.dialect())
    assert isinstance(compiled, SQLCompiler) and compiled.positiontup is not None
    return str(compiled), tuple(compiled.positiontup)


_UPSERT_GROUP, _GROUP_COLUMNS = _prepared(_upsert_group())
_UPSERT_SECOND, _SECOND_COLUMNS = _prepared(_upsert_second())
_UPSERT_TOTAL, _TOTAL_COLUMNS = _prepared(_upsert_total())
_INSERT_SAMPLE, _SAMPLE_COLUMNS = _prepared(insert(error_samples).values(key="", document=""))
assert _SECOND_COLUMNS == ("key", "second", "count", "first_us", "last_us")
assert _TOTAL_COLUMNS == ("severity", "count")
assert _SAMPLE_COLUMNS == ("key", "document")


@dataclass(slots=True)
class _Batch:
    """The occurrences of one group within one call."""

    template: str
    occurrences: list[ErrorOccurrence] = field(default_factory=list)
    times_us: list[int] = field(default_factory=list)

    def add(self, occurrence: ErrorOccurrence) -> None:
        self.occurrences.append(occurrence)
        self.times_us.append(to_us(occurrence.at))


def note_batch(connection: Connection, digest: Digest) -> bool:
    """Remember that a batch of errors is counted in this transaction; False when it was counted before."""
    noted = connection.execute(insert(error_batches).values(digest=digest).on_conflict_do_nothing())
    if noted.rowcount != 1:
        return False
    newest = select(func.max(error_batches.c.id)).scalar_subquery()
    connection.execute(delete(error_batches).where(error_batches.c.id <= newest - MAX_BATCHES_REMEMBERED))
    return True


def record_occurrences(
    connection: Connection, items: Sequence[tuple[Digest, str, ErrorOccurrence]], *, source: str
) -> dict[Digest, tuple[str, int]]:
    """Count them in the caller's transaction; return severity and count of the groups that were touched."""
    batches: dict[Digest, _Batch] = {}
    for key, template, occurrence in items:
        batch = batches.get(key)
        if batch is None:
            batch = batches[key] = _Batch(template)
        batch.add(occurrence)
    known = _known_groups(connection, batches)
    rows = [_merge(known.get(key), key, batch, source) for key, batch in batches.items()]
    connection.exec_driver_sql(_UPSERT_GROUP, [tuple(map(row.__getitem__, _GROUP_COLUMNS)) for row in rows])
    _count_seconds(connection, batches)
    _count_totals(connection, (occurrence for _, _, occurrence in items))
    _keep_samples(connection, batches, full=known)
    if len(known) < len(batches):
        _evict(connection)
    return {row["key"]: (row["severity"], row["count"]) for row in rows}


def count_groups(connection: Connection, keys: Iterable[Digest]) -> dict[Digest, tuple[str, int]]:
    """Return severity and count of the groups of these keys that exist."""
    wanted = list(keys)
    known = _known_groups(connection, wanted)
    return {key: (known[key]["severity"], known[key]["count"]) for key in wanted if key in known}


def put_group(connection: Connection, group: ErrorGroup) -> None:
    """Store a group as it is, unless there is one of its key."""
    if _known_groups(connection, [group.key]):
        return
    row = {
        "key": group.key,
        "exception_type": group.exception_type,
        "message_template": group.message_template,
        "path": group.location.path,
        "function": group.location.function,
        "line": group.location.line,
        "severity": group.severity,
        "count": group.count,
        "first_us": to_us(group.first_at),
        "last_us": to_us(group.last_at),
        "commit_id": group.commit,
        "source": "",
    }
    connection.execute(plain_insert(error_groups), row)
    batch = _Batch(group.message_template)
    for sample in group.samples:
        batch.add(sample)
    _keep_samples(connection, {group.key: batch}, full=())


def read_groups(connection: Connection, keys: Iterable[Digest]) -> dict[Digest, ErrorGroup]:
    """Return the groups of these keys that exist, with their samples, oldest sample first."""
    wanted = list(keys)
    rows = _known_groups(connection, wanted)
    samples: dict[str, list[ErrorOccurrence]] = {}
    for chunk in chunks(wanted):
        query = select(error_samples).where(error_samples.c.key.in_(chunk)).order_by(error_samples.c.id)
        for row in connection.execute(query).mappings():
            samples.setdefault(row["key"], []).append(decode_sample(row))
    return {key: _group(rows[key], tuple(samples.get(key, ()))) for key in wanted if key in rows}


def count_seconds_since(connection: Connection, key: Digest, since_us: int) -> int:
    """Count the group's occurrences at or after `since_us`.

    Exact, save for the one second that `since_us` parts: when there were some on both sides of it,
    all but one of that second are counted. It errs on the side of more errors, never of fewer.
    """
    query = select(error_seconds).where(error_seconds.c.key == key, error_seconds.c.second >= since_us // _SECOND_US)
    total = 0
    for row in connection.execute(query).mappings():
        if row["first_us"] >= since_us:
            total += row["count"]
        elif row["last_us"] >= since_us:
            total += row["count"] - 1
    return total


def _known_groups(connection: Connection, keys: Iterable[Digest]) -> dict[Digest, RowMapping]:
    rows: dict[Digest, RowMapping] = {}
    for chunk in chunks(list(keys)):
        query = select(error_groups).where(error_groups.c.key.in_(chunk))
        rows |= {row["key"]: row for row in connection.execute(query).mappings()}
    return rows


def _merge(known: RowMapping | None, key: Digest, batch: _Batch, source: str) -> dict[str, Any]:
    times_us = batch.times_us
    first_us, last_us, count = min(times_us), max(times_us), len(times_us)
    latest = batch.occurrences[times_us.index(last_us)]
    severities = [item.severity for item in batch.occurrences]
    if known is not None:
        severities.append(known["severity"])
        source = source_of_group(known["source"] or "", source)
        first_us, count = min(first_us, known["first_us"]), count + known["count"]
    row: dict[str, Any] = {
        "key": key,
        "exception_type": latest.exception_type,
        "message_template": batch.template,
        "path": latest.location.path,
        "function": latest.location.function,
        "line": latest.location.line,
        "commit_id": latest.commit,
    }
    if known is not None and known["last_us"] > last_us:
        # What came late must not take the place of what is newer.
        row = {name: known[name] for name in row}
        last_us = known["last_us"]
    severity = max(severities, key=lambda word: _RANK.get(word, -1))
    return {**row, "severity": severity, "count": count, "first_us": first_us, "last_us": last_us, "source": source}


def _count_seconds(connection: Connection, batches: Mapping[Digest, _Batch]) -> None:
    seconds: dict[tuple[Digest, int], list[int]] = {}
    for key, batch in batches.items():
        for at_us in batch.times_us:
            seconds.setdefault((key, at_us // _SECOND_US), []).append(at_us)
    rows = [(key, second, len(times), min(times), max(times)) for (key, second), times in seconds.items()]
    connection.exec_driver_sql(_UPSERT_SECOND, rows)


def _count_totals(connection: Connection, occurrences: Iterable[ErrorOccurrence]) -> None:
    totals: dict[str, int] = {}
    for occurrence in occurrences:
        totals[occurrence.severity] = totals.get(occurrence.severity, 0) + 1
    connection.exec_driver_sql(_UPSERT_TOTAL, list(totals.items()))


def _keep_samples(connection: Connection, batches: Mapping[Digest, _Batch], *, full: Iterable[Digest]) -> None:
    """Add the newest samples; the groups in `full` may have too many afterwards and lose their oldest."""
    rows = [
        (key, encode_sample(occurrence))
        for key, batch in batches.items()
        for occurrence in batch.occurrences[-MAX_SAMPLES_PER_CALL:]
    ]
    if not rows:
        return
    connection.exec_driver_sql(_INSERT_SAMPLE, rows)
    for chunk in chunks(list(full)):
        newest_first = func.row_number().over(partition_by=error_samples.c.key, order_by=error_samples.c.id.desc())
        numbered = (
            select(error_samples.c.id, newest_first.label("place")).where(error_samples.c.key.in_(chunk)).subquery()
        )
        surplus = select(numbered.c.id).where(numbered.c.place > MAX_SAMPLES_PER_TEMPLATE)
        connection.execute(delete(error_samples).where(error_samples.c.id.in_(surplus)))


def _evict(connection: Connection) -> None:
    surplus = surplus_of(connection.execute(select(func.count()).select_from(error_groups)).scalar_one())
    if not surplus:
        return
    looked_at = (error_groups.c[name] for name in ("key", "source", "path", "function", "exception_type", "last_us"))
    query = select(*looked_at).where(error_groups.c.key.not_in(select(findings.c.key)))
    standings = (
        Standing(
            key=row.key,
            source=row.source or "",
            place=place_of(row.path, row.function, row.exception_type),
            last_us=row.last_us,
        )
        for row in connection.execute(query)
    )
    for chunk in chunks(choose_to_go(standings, surplus)):
        connection.execute(delete(error_groups).where(error_groups.c.key.in_(chunk)))


def _group(row: RowMapping, samples: tuple[ErrorOccurrence, ...]) -> ErrorGroup:
    return ErrorGroup(
        key=Digest(row["key"]),
        exception_type=row["exception_type"],
        message_template=row["message_template"],
        location=CodeLocation(path=row["path"], function=row["function"], line=row["line"]),
        severity=row["severity"],
        count=row["count"],
        first_at=from_us(row["first_us"]),
        last_at=from_us(row["last_us"]),
        commit=None if row["commit_id"] is None else CommitId(row["commit_id"]),
        samples=samples,
    )


def chunks(keys: Sequence[Digest]) -> Iterable[Sequence[Digest]]:
    return (keys[start : start + _CHUNK] for start in range(0, len(keys), _CHUNK))
