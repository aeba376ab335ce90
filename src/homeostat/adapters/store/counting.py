"""Counting cleaned occurrences into their groups, as one transaction does for however many requests.

A statement holds many rows, because the interpreter's lock is given up once for each statement and may
take long to get back: so the database works while another request is being read. Time is bounded by
seconds, each holding a count with its first and last moment.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import msgspec

from homeostat.adapters.store.sample_document import encode_sample
from homeostat.adapters.store.tables import to_us
from homeostat.core.digests import Digest
from homeostat.core.limits import MAX_SAMPLES_PER_CALL, MAX_SAMPLES_PER_TEMPLATE
from homeostat.model.finding import AGENTS, ErrorOccurrence
from homeostat.telemetry.making_room import source_of_group

Counted = tuple[Sequence[tuple[Digest, str, ErrorOccurrence]], str]
"""Occurrences with their keys and templates, and whose they are."""

_Row = tuple[object, ...]

_RANK = {"warning": 0, "error": 1, "critical": 2}
_SECOND_US = 1_000_000
_ROWS_AT_ONCE = (64, 8, 1)
"""Rows in one statement: few lengths, so that each is prepared once; SQLite takes 32,766 parameters."""

_LATEST = ("exception_type", "message_template", "path", "function", "line", "commit_id")
_GROUP_COLUMNS = ("key", "severity", "count", "first_us", "last_us", "source", *_LATEST)
_MERGED = (
    ("count", "count + excluded.count"),
    ("first_us", "min(first_us, excluded.first_us)"),
    ("last_us", "max(last_us, excluded.last_us)"),
)


def _rank_of(column: str) -> str:
    return f"CASE {column} " + " ".join(f"WHEN '{word}' THEN {rank}" for word, rank in _RANK.items()) + " ELSE -1 END"


def _upsert(table: str, columns: Sequence[str], keys: str, changed: Iterable[tuple[str, str]]) -> tuple[str, int, str]:
    """Return the statement but for its rows, and how many values a row has."""
    sets = ", ".join(f"{column} = {value}" for column, value in changed)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES",
        len(columns),
        f"ON CONFLICT ({keys}) DO UPDATE SET {sets}",
    )


_GROUPS = _upsert(
    "error_groups",
    _GROUP_COLUMNS,
    "key",
    (
        *_MERGED,
        ("severity", f"iif({_rank_of('excluded.severity')} > {_rank_of('severity')}, excluded.severity, severity)"),
        # As `source_of_group` has it.
        (
            "source",
            f"iif('{AGENTS}' IN (source, excluded.source), '{AGENTS}', coalesce(nullif(source, ''), excluded.source))",
        ),
        # What came late must not take the place of what is newer.
        *((column, f"iif(excluded.last_us >= last_us, excluded.{column}, {column})") for column in _LATEST),
    ),
)
_SECONDS = _upsert("error_seconds", ("key", "second", "count", "first_us", "last_us"), "key, second", _MERGED)
_TOTALS = _upsert("error_totals", ("severity", "count"), "severity", _MERGED[:1])
_SAMPLES = ("INSERT INTO error_samples (key, document) VALUES", 2, "")
_TOUCHED = """\
SELECT key, severity, count FROM error_groups WHERE key IN (SELECT value FROM json_each(?))"""
_TRIM = f"""\
DELETE FROM error_samples WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (PARTITION BY key ORDER BY id DESC) AS place
        FROM error_samples WHERE key IN (SELECT value FROM json_each(?))
    ) WHERE place > {MAX_SAMPLES_PER_TEMPLATE}
)"""  # noqa: S608 - a number of ours

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class _Tally:
    """The occurrences of one group that are counted together."""

    template: str
    source: str
    occurrences: list[ErrorOccurrence] = field(default_factory=list)
    attested: list[ErrorOccurrence] = field(default_factory=list)
    """Those of them that agents told: only these are counted by seconds, as evidence of a change."""


def count_occurrences(cursor: sqlite3.Cursor, told: Iterable[Counted]) -> dict[Digest, tuple[str, int, int]]:
    """Count them in the caller's transaction; return of each group severity, count, and how many are from here."""
    tallies: dict[Digest, _Tally] = {}
    for items, source in told:
        for key, template, occurrence in items:
            tally = tallies.get(key)
            if tally is None:
                tally = tallies[key] = _Tally(template, source)
            elif tally.source != source:
                tally.source = source_of_group(tally.source, source)
            tally.occurrences.append(occurrence)
            if source == AGENTS:
                tally.attested.append(occurrence)
    groups, seconds, totals = _rows_of(tallies)
    _write(cursor, _GROUPS, groups)
    _write(cursor, _SECONDS, seconds)
    _write(cursor, _TOTALS, totals)
    standings = {
        key: (severity, count, len(tallies[key].occurrences))
        for key, severity, count in cursor.execute(_TOUCHED, (_encode(list(tallies)).decode(),)).fetchall()
    }
    keep_samples(cursor, {key: tally.occurrences[-MAX_SAMPLES_PER_CALL:] for key, tally in tallies.items()})
    crowded = [key for key, (_, count, _) in standings.items() if count > MAX_SAMPLES_PER_TEMPLATE]
    if crowded:
        cursor.execute(_TRIM, (_encode(crowded).decode(),))
    return standings


def keep_samples(cursor: sqlite3.Cursor, occurrences: Mapping[Digest, Sequence[ErrorOccurrence]]) -> None:
    """Add these to the samples of their groups; older ones are not taken away."""
    _write(cursor, _SAMPLES, [(key, encode_sample(item)) for key, items in occurrences.items() for item in items])


def _rows_of(tallies: Mapping[Digest, _Tally]) -> tuple[list[_Row], list[_Row], list[_Row]]:
    groups: list[_Row] = []
    seconds: list[_Row] = []
    totals: dict[str, int] = {}
    for key, tally in tallies.items():
        occurrences = tally.occurrences
        times_us = list(map(_at_us, occurrences))
        severities = [item.severity for item in occurrences]
        for word in severities:
            totals[word] = totals.get(word, 0) + 1
        last_us = max(times_us)
        latest = occurrences[times_us.index(last_us)]
        place = latest.location
        groups.append(
            (
                key,
                max(severities, key=_rank),
                len(occurrences),
                min(times_us),
                last_us,
                tally.source,
                latest.exception_type,
                tally.template,
                place.path,
                place.function,
                place.line,
                latest.commit,
            )
        )
        by_second: dict[int, list[int]] = {}
        for at_us in times_us if len(tally.attested) == len(occurrences) else map(_at_us, tally.attested):
            by_second.setdefault(at_us // _SECOND_US, []).append(at_us)
        seconds.extend((key, second, len(times), min(times), max(times)) for second, times in by_second.items())
    return groups, seconds, list(totals.items())


def _at_us(occurrence: ErrorOccurrence) -> int:
    return to_us(occurrence.at)


def _rank(severity: str) -> int:
    return _RANK.get(severity, -1)


def _write(cursor: sqlite3.Cursor, statement: tuple[str, int, str], rows: Sequence[_Row]) -> None:
    before, width, after = statement
    at = 0
    for length in _ROWS_AT_ONCE:
        while len(rows) - at >= length:
            values = ",".join([f"({','.join('?' * width)})"] * length)
            cursor.execute(f"{before} {values} {after}", list(chain.from_iterable(rows[at : at + length])))
            at += length
