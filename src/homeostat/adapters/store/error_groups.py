"""Groups of errors: what is counted into them (`counting`), what of them is read, and which make room.

Bounded in every direction: groups by `MAX_ERROR_TEMPLATES` (`homeostat.telemetry.making_room` says which
go; one that a finding was made of stays), samples by `MAX_SAMPLES_PER_TEMPLATE` (the newest stay), and time by
seconds.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, RowMapping, delete, func, select
from sqlalchemy import insert as plain_insert

from homeostat.adapters.store.counting import Counted, count_occurrences, keep_samples
from homeostat.adapters.store.database import cursor_of
from homeostat.adapters.store.row_values import NOT_OURS, malformed, text, whole
from homeostat.adapters.store.sample_document import decode_sample
from homeostat.adapters.store.tables import (
    error_groups,
    error_samples,
    error_seconds,
    findings,
    from_us,
    to_us,
)
from homeostat.core.digests import Digest
from homeostat.core.ids import CommitId
from homeostat.core.limits import MAX_BATCHES_REMEMBERED
from homeostat.model.finding import CodeLocation, ErrorGroup, ErrorOccurrence
from homeostat.telemetry.making_room import Standing, choose_to_go, place_of, surplus_of

_SECOND_US = 1_000_000
_NOTE = "INSERT INTO error_batches (digest) VALUES (?) ON CONFLICT DO NOTHING"
_FORGET = f"DELETE FROM error_batches WHERE id <= (SELECT max(id) FROM error_batches) - {MAX_BATCHES_REMEMBERED}"  # noqa: S608
_CHUNK = 500
"""Keys in one statement; SQLite takes some thousand parameters."""


def note_batches(connection: Connection, digests: Iterable[Digest | None]) -> list[bool]:
    """Remember the batches that are counted in this transaction; False of each that was counted before."""
    cursor = cursor_of(connection)
    fresh = [digest is None or cursor.execute(_NOTE, (digest,)).rowcount == 1 for digest in digests]
    cursor.execute(_FORGET)
    return fresh


def record_occurrences(connection: Connection, told: Sequence[Counted]) -> dict[Digest, tuple[str, int]]:
    """Count them in the caller's transaction; return severity and count of the groups that were touched."""
    standings = count_occurrences(cursor_of(connection), told)
    if any(count == added for _, count, added in standings.values()):
        _evict(connection)
    return {key: (severity, count) for key, (severity, count, _) in standings.items()}


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
    keep_samples(cursor_of(connection), {group.key: group.samples})


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
    try:
        for row in connection.execute(query).mappings():
            if whole(row["first_us"]) >= since_us:
                total += whole(row["count"])
            elif whole(row["last_us"]) >= since_us:
                total += whole(row["count"]) - 1
    except NOT_OURS as error:
        raise malformed(f"a second of error group {key[:40]}", error) from error
    return total


def _known_groups(connection: Connection, keys: Iterable[Digest]) -> dict[Digest, RowMapping]:
    rows: dict[Digest, RowMapping] = {}
    for chunk in chunks(list(keys)):
        query = select(error_groups).where(error_groups.c.key.in_(chunk))
        rows |= {row["key"]: row for row in connection.execute(query).mappings()}
    return rows


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
    try:
        return ErrorGroup(
            key=Digest(text(row["key"])),
            exception_type=text(row["exception_type"]),
            message_template=text(row["message_template"]),
            location=CodeLocation(path=text(row["path"]), function=text(row["function"]), line=whole(row["line"])),
            severity=text(row["severity"]),
            count=whole(row["count"]),
            first_at=from_us(row["first_us"]),
            last_at=from_us(row["last_us"]),
            commit=None if row["commit_id"] is None else CommitId(text(row["commit_id"])),
            samples=samples,
        )
    except NOT_OURS as error:
        raise malformed(f"error group {str(row['key'])[:40]}", error) from error


def chunks(keys: Sequence[Digest]) -> Iterable[Sequence[Digest]]:
    return (keys[start : start + _CHUNK] for start in range(0, len(keys), _CHUNK))
