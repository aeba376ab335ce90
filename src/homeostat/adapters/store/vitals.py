"""Vitals ticks: written in batches, read by time, forgotten by age."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from homeostat.adapters.store.database import Database
from homeostat.adapters.store.row_values import NOT_OURS, flag, malformed, text, whole
from homeostat.adapters.store.tables import error_seconds, from_us, stretches, ticks, to_us
from homeostat.core.digests import digest_bytes
from homeostat.core.errors import InvalidInput
from homeostat.model.vitals import (
    LATENCY_BOUNDS_MS,
    STRETCH_S,
    RouteVitals,
    Stretch,
    VitalsTick,
    stretches_of,
    together,
)


class SqlVitals:
    """`homeostat.ports.store.VitalsStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record_ticks(self, batch: Sequence[VitalsTick]) -> None:
        rows = {row["identity"]: (row, tick) for row, tick in ((_encode(tick), tick) for tick in batch)}
        if not rows:
            return
        keep = insert(ticks).on_conflict_do_nothing(index_elements=["identity"]).returning(ticks.c.identity)
        with self._database.writing() as connection:
            kept = connection.execute(keep, [row for row, _ in rows.values()]).scalars()
            _add_up(connection, [rows[identity][1] for identity in kept])

    def ticks(self, *, since: datetime, until: datetime) -> Sequence[VitalsTick]:
        query = (
            select(ticks)
            .where(ticks.c.end_us > to_us(since), ticks.c.end_us <= to_us(until))
            .order_by(ticks.c.end_us, ticks.c.id)
        )
        with self._database.reading() as connection:
            return [_decode(row) for row in connection.execute(query).mappings()]

    def stretches(self, *, since: datetime, until: datetime) -> Sequence[Stretch]:
        last_us = to_us(until) - STRETCH_S * 1_000_000
        query = (
            select(stretches)
            .where(stretches.c.start_us >= to_us(since), stretches.c.start_us <= last_us)
            .order_by(stretches.c.start_us)
        )
        with self._database.reading() as connection:
            return [_decode_stretch(row) for row in connection.execute(query).mappings()]

    def latest(self) -> datetime | None:
        with self._database.reading() as connection:
            end_us = connection.execute(select(func.max(ticks.c.end_us))).scalar_one()
        try:
            return None if end_us is None else from_us(end_us)
        except NOT_OURS as error:
            raise malformed("the latest vitals tick", error) from error

    def prune(self, *, before: datetime) -> int:
        """Forget ticks that ended before `before`, and how errors were spread over those seconds.

        All-time counts of errors stay; `count_since` knows nothing of pruned seconds afterwards.
        """
        limit_us = to_us(before)
        with self._database.writing() as connection:
            # The same age ends both: nothing else would bound the per-second counts.
            connection.execute(delete(error_seconds).where(error_seconds.c.last_us < limit_us))
            connection.execute(delete(stretches).where(stretches.c.start_us < limit_us - STRETCH_S * 1_000_000))
            return connection.execute(delete(ticks).where(ticks.c.end_us < limit_us)).rowcount


def _add_up(connection: Connection, kept: Sequence[VitalsTick]) -> None:
    """Add ticks that were not there before to their stretches, in the caller's transaction."""
    found = stretches_of(kept)
    if not found:
        return
    query = select(stretches).where(stretches.c.start_us.in_([to_us(start) for start in found]))
    known = {item.start: item for item in map(_decode_stretch, connection.execute(query).mappings())}
    values = [
        _encode_stretch(together(known[start], item) if start in known else item) for start, item in found.items()
    ]
    put = insert(stretches)
    put = put.on_conflict_do_update(index_elements=["start_us"], set_={"document": put.excluded.document})
    connection.execute(put, values)


def _encode_stretch(item: Stretch) -> dict[str, Any]:
    document = [item.requests, item.errors, item.seconds, item.error_seconds, item.serves, *item.latency]
    return {"start_us": to_us(item.start), "document": json.dumps(document, separators=(",", ":"))}


def _decode_stretch(row: RowMapping) -> Stretch:
    try:
        requests, errors, seconds, with_error, serves, *latency = json.loads(row["document"])
        if len(latency) != len(LATENCY_BOUNDS_MS) + 1:
            raise ValueError(f"{len(latency)} counts of latencies")
        return Stretch(
            start=from_us(row["start_us"]),
            requests=whole(requests),
            errors=whole(errors),
            latency=tuple(map(whole, latency)),
            seconds=float(seconds),
            error_seconds=whole(with_error),
            serves=flag(serves),
        )
    except NOT_OURS as error:
        raise malformed(f"the vitals of stretch {row['start_us']}", error) from error


def _encode(tick: VitalsTick) -> dict[str, Any]:
    document = {
        "routes": {
            name: [route.requests, route.errors, route.latency_ms_sum, *route.latency_ms_buckets]
            for name, route in tick.routes.items()
        },
        "errors_logged": tick.errors_logged,
        "loop_lag_ms_max": tick.loop_lag_ms_max,
        "cpu_percent": tick.cpu_percent,
        "memory_bytes": tick.memory_bytes,
        "dropped": tick.dropped,
        "generation": tick.generation,
        "serves": tick.serves,
    }
    try:
        # Not canonical: ticks hold floats and are never hashed.
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise InvalidInput("not-finite", f"a vitals tick of process {tick.process_id[:40]} is not finite") from error
    start_us, end_us = to_us(tick.start), to_us(tick.end)
    return {
        "process_id": tick.process_id,
        "start_us": start_us,
        "end_us": end_us,
        "document": text,
        # The document belongs to it: a collector may send the parts of one interval in several requests.
        "identity": digest_bytes(f"{tick.process_id}\n{start_us}\n{end_us}\n{text}".encode("utf-8", "surrogatepass")),
    }


def _decode(row: RowMapping) -> VitalsTick:
    try:
        document = json.loads(row["document"])
        routes = {
            name: RouteVitals(
                requests=whole(values[0]),
                errors=whole(values[1]),
                latency_ms_sum=float(values[2]),
                latency_ms_buckets=tuple(map(whole, values[3:])),
            )
            for name, values in document.pop("routes").items()
        }
        return VitalsTick(
            process_id=text(row["process_id"]),
            start=from_us(row["start_us"]),
            end=from_us(row["end_us"]),
            routes=routes,
            errors_logged=whole(document.pop("errors_logged")),
            **document,
        )
    except NOT_OURS as error:
        raise malformed(f"vitals tick {row['id']}", error) from error
