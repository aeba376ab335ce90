"""Vitals ticks: written in batches, read by time, forgotten by age."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from homeostat.adapters.store.database import Database
from homeostat.adapters.store.row_values import NOT_OURS, malformed, text, whole
from homeostat.adapters.store.tables import error_seconds, from_us, ticks, to_us
from homeostat.core.digests import digest_bytes
from homeostat.core.errors import InvalidInput
from homeostat.model.vitals import RouteVitals, VitalsTick


class SqlVitals:
    """`homeostat.ports.store.VitalsStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record_ticks(self, batch: Sequence[VitalsTick]) -> None:
        rows = [_encode(tick) for tick in batch]
        if rows:
            with self._database.writing() as connection:
                connection.execute(insert(ticks).on_conflict_do_nothing(index_elements=["identity"]), rows)

    def ticks(self, *, since: datetime, until: datetime) -> Sequence[VitalsTick]:
        query = (
            select(ticks)
            .where(ticks.c.end_us > to_us(since), ticks.c.end_us <= to_us(until))
            .order_by(ticks.c.end_us, ticks.c.id)
        )
        with self._database.reading() as connection:
            return [_decode(row) for row in connection.execute(query).mappings()]

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
            return connection.execute(delete(ticks).where(ticks.c.end_us < limit_us)).rowcount


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
