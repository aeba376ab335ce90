"""What canaries counted: written in batches, read by change, forgotten by age."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, delete, select
from sqlalchemy.dialects.sqlite import insert

from homeostat.adapters.store.database import Database
from homeostat.adapters.store.tables import canary_ticks, from_us, to_us
from homeostat.core import canonical_json
from homeostat.core.canonical_json import JsonValue
from homeostat.core.digests import digest_bytes
from homeostat.core.errors import IntegrityFailure
from homeostat.core.ids import ProposalId
from homeostat.model.canary import ArmTick, ProcessTick, Shadowed, ShadowOutcome, ShadowTick


class SqlCanaries:
    """`homeostat.ports.store.CanaryStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, batch: Sequence[ProcessTick]) -> None:
        rows = [_encode(tick) for tick in batch]
        if rows:
            with self._database.writing() as connection:
                connection.execute(insert(canary_ticks).on_conflict_do_nothing(index_elements=["identity"]), rows)

    def ticks(self, change_id: ProposalId, *, after: int = 0) -> Sequence[tuple[int, ProcessTick]]:
        query = (
            select(canary_ticks)
            .where(canary_ticks.c.change_id == change_id, canary_ticks.c.id > after)
            .order_by(canary_ticks.c.id)
        )
        with self._database.reading() as connection:
            return [(row["id"], _decode(row)) for row in connection.execute(query).mappings()]

    def prune(self, *, before: datetime) -> int:
        with self._database.writing() as connection:
            return connection.execute(delete(canary_ticks).where(canary_ticks.c.end_us < to_us(before))).rowcount


def _encode(tick: ProcessTick) -> dict[str, Any]:
    document: dict[str, JsonValue] = {
        "percent": tick.percent,
        "control": _encode_arm(tick.control),
        "canary": _encode_arm(tick.canary),
    }
    if tick.shadow is not None:
        document["shadow"] = _encode_shadow(tick.shadow)
    text = canonical_json.encode(document).decode("utf-8")
    start_us, end_us = to_us(tick.start), to_us(tick.end)
    known_by = f"{tick.change_id}\n{tick.process_id}\n{start_us}\n{end_us}\n{text}"
    return {
        "change_id": tick.change_id,
        "process_id": tick.process_id,
        "start_us": start_us,
        "end_us": end_us,
        "document": text,
        "identity": digest_bytes(known_by.encode("utf-8", "surrogatepass")),
    }


def _encode_arm(arm: ArmTick) -> JsonValue:
    latency = {str(index): count for index, count in arm.latency.items()}
    return {"units": arm.units, "failures": dict(arm.failures), "latency": latency, "at_risk": arm.at_risk}


def _encode_shadow(tick: ShadowTick) -> JsonValue:
    calls: list[JsonValue] = [
        [kind.function, kind.outcome.value, kind.difference, count] for kind, count in tick.calls.items()
    ]
    return {"calls": calls, "control_us": round(tick.control_s * 1e6), "canary_us": round(tick.canary_s * 1e6)}


def _decode(row: RowMapping) -> ProcessTick:
    try:
        document = json.loads(row["document"])
        return ProcessTick(
            change_id=ProposalId(row["change_id"]),
            process_id=row["process_id"],
            start=from_us(row["start_us"]),
            end=from_us(row["end_us"]),
            percent=int(document["percent"]),
            control=_decode_arm(document["control"]),
            canary=_decode_arm(document["canary"]),
            shadow=_decode_shadow(document["shadow"]) if "shadow" in document else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityFailure("row-malformed", f"canary tick {row['id']} cannot be read: {error}") from error


def _decode_arm(value: Mapping[str, Any]) -> ArmTick:
    return ArmTick(
        units=int(value["units"]),
        failures={str(kind): int(count) for kind, count in value["failures"].items()},
        latency={int(index): int(count) for index, count in value["latency"].items()},
        at_risk=None if value["at_risk"] is None else int(value["at_risk"]),
    )


def _decode_shadow(value: Mapping[str, Any]) -> ShadowTick:
    return ShadowTick(
        calls={
            Shadowed(function=str(function), outcome=ShadowOutcome(outcome), difference=str(difference)): int(count)
            for function, outcome, difference, count in value["calls"]
        },
        control_s=int(value["control_us"]) / 1e6,
        canary_s=int(value["canary_us"]) / 1e6,
    )
