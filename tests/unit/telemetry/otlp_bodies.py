"""Bodies of OTLP/JSON requests, as senders write them."""

from datetime import UTC, datetime
from typing import Any

NOW = datetime(2026, 1, 10, 14, 32, tzinfo=UTC)
COMMIT = "9b2118d0c1f4ab0116e0d91c2e0d4ab0116f00aa"


def ns(at: datetime) -> str:
    return str(int(at.timestamp()) * 1_000_000_000 + at.microsecond * 1000)


def attributes(**values: Any) -> list[dict[str, Any]]:
    def wrap(value: Any) -> dict[str, Any]:
        match value:
            case int():
                return {"intValue": str(value)}
            case list():
                return {"arrayValue": {"values": [wrap(item) for item in value]}}
            case _:
                return {"stringValue": value}

    return [{"key": key.replace("__", "."), "value": wrap(value)} for key, value in values.items()]


def body(*records: Any, resource: Any = None, scope: str = "orders.pricing") -> dict[str, Any]:
    resource = {"attributes": attributes(service__instance__id="process-1")} if resource is None else resource
    scope_logs = [{"scope": {"name": scope}, "logRecords": list(records)}]
    return {"resourceLogs": [{"resource": resource, "scopeLogs": scope_logs}]}


def record(**changes: Any) -> dict[str, Any]:
    base = {"timeUnixNano": ns(NOW), "severityNumber": 17, "severityText": "ERROR", "body": {"stringValue": "it broke"}}
    return {**base, **changes}
