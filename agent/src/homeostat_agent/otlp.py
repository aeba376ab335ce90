"""OTLP/JSON bodies, as ``/v1/logs`` and ``/v1/metrics`` take them: what the hub knows of this process comes in these.

64-bit integers are text, as protobuf's JSON mapping wants it. An attribute without a value is left out.
"""

from __future__ import annotations

import os

from homeostat_agent.capture.occurrence import Occurrence
from homeostat_agent.capture.traffic import LATENCY_BOUNDS_S
from homeostat_agent.context import HostContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Mapping

    from homeostat_agent.canary.counts import ArmCounts
    from homeostat_agent.canary.report import CanaryReport
    from homeostat_agent.canary.shadow import ShadowCounts

_DELTA = 1
_SCOPE = {"name": "homeostat_agent"}


def encode_logs(records: list[Occurrence], resource: HostContext) -> dict[str, Any]:
    """Return the body for these occurrences, one scope a logger, in the order in which they came."""
    scopes: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        scopes.setdefault(record.logger, []).append(_log_record(record))
    return {
        "resourceLogs": [
            {
                "resource": _resource(resource),
                "scopeLogs": [{"scope": {"name": name}, "logRecords": rows} for name, rows in scopes.items()],
            }
        ]
    }


def encode_metrics(snapshot: Mapping[str, Any], resource: HostContext) -> dict[str, Any]:
    """Return the body for what `Capture.vitals` returned. `snapshot["generation"]` may be added by the sender."""
    start, end = str(snapshot["start_unix_ns"]), str(snapshot["end_unix_ns"])
    span = {"startTimeUnixNano": start, "timeUnixNano": end}
    metrics: list[dict[str, Any]] = []
    points = [
        {
            **span,
            "count": str(series.requests),
            "sum": series.sum_s,
            "explicitBounds": list(LATENCY_BOUNDS_S),
            "bucketCounts": [str(count) for count in series.buckets],
            "attributes": _attributes([("http.route", route), ("error.type", kind)]),
        }
        for (route, kind), series in snapshot["requests"].items()
    ]
    if points:
        metrics.append(
            {
                "name": "http.server.request.duration",
                "unit": "s",
                "histogram": {"aggregationTemporality": _DELTA, "dataPoints": points},
            }
        )
    metrics.append(
        {
            "name": "homeostat.errors_logged",
            "unit": "{error}",
            "sum": {
                "aggregationTemporality": _DELTA,
                "isMonotonic": True,
                "dataPoints": [{**span, "asInt": str(snapshot["errors_logged"])}],
            },
        }
    )
    metrics.extend(_canaries(snapshot.get("canaries", ()), span))
    for name, unit, key in (
        ("homeostat.loop_lag_max", "ms", "loop_lag_ms_max"),
        ("process.cpu.utilization", "1", "cpu_utilization"),
        ("process.memory.usage", "By", "memory_bytes"),
        ("homeostat.dropped", "{item}", "dropped"),
        ("homeostat.generation", "{change}", "generation"),
        ("homeostat.serves", "1", "serves"),
    ):
        value = snapshot.get(key)
        if value is not None:
            number = {"asDouble": value} if isinstance(value, float) else {"asInt": str(value)}
            metrics.append({"name": name, "unit": unit, "gauge": {"dataPoints": [{"timeUnixNano": end, **number}]}})
    return {
        "resourceMetrics": [
            {"resource": _resource(resource), "scopeMetrics": [{"scope": dict(_SCOPE), "metrics": metrics}]}
        ]
    }


def _canaries(reports: Iterable[CanaryReport], span: Mapping[str, str]) -> Iterable[dict[str, Any]]:
    """Return the metrics of the canaries; none where none is under way."""
    durations, failures, at_risk, shares, lapses = [], [], [], [], []
    shadowed: list[dict[str, Any]] = []
    shadowed_s: list[dict[str, Any]] = []
    now = {"timeUnixNano": span["timeUnixNano"]}
    for report in reports:
        change = ("homeostat.change", report.change_id)
        for new, counts in report.arms.items():
            arm = (change, ("homeostat.arm", "canary" if new else "control"))
            if counts.units:
                durations.append({**span, **_sparse(counts), "attributes": _attributes(arm)})
            for kind, failed in counts.failures.items():
                failures.append({**span, "asInt": str(failed), "attributes": _attributes([*arm, ("error.type", kind)])})
            if counts.at_risk is not None:
                at_risk.append({**now, "asInt": str(counts.at_risk), "attributes": _attributes(arm)})
        shares.append({**now, "asDouble": float(report.percent), "attributes": _attributes([change])})
        if report.lapsed:
            lapses.append({**span, "asInt": "1", "attributes": _attributes([change])})
        if report.shadow is not None:
            shadowed.extend({**span, **point} for point in _found(report.shadow, change))
            for new, seconds in report.shadow.seconds.items():
                arm = (change, ("homeostat.arm", "canary" if new else "control"))
                shadowed_s.append({**span, "asDouble": seconds, "attributes": _attributes(arm)})
    delta = {"aggregationTemporality": _DELTA}
    for name, unit, kind_of, points in (
        ("duration", "s", "histogram", durations),
        ("failures", "{unit}", "sum", failures),
        ("at_risk", "{key}", "gauge", at_risk),
        ("percent", "%", "gauge", shares),
        ("lapsed", "{canary}", "sum", lapses),
        ("shadowed", "{call}", "sum", shadowed),
        ("shadowed_time", "s", "sum", shadowed_s),
    ):
        if points:
            more = {"histogram": delta, "sum": {**delta, "isMonotonic": True}, "gauge": {}}[kind_of]
            yield {"name": f"homeostat.canary.{name}", "unit": unit, kind_of: {**more, "dataPoints": points}}


def _found(counts: ShadowCounts, change: tuple[str, str]) -> Iterable[dict[str, Any]]:
    """Return the points of what was found by comparing calls; one without a function counts those that were not."""
    for (function, outcome, difference), calls in counts.found.items():
        told = [change, ("homeostat.function", function), ("homeostat.outcome", outcome)]
        yield {"asInt": str(calls), "attributes": _attributes([*told, ("homeostat.difference", difference)])}
    if counts.skipped:
        yield {"asInt": str(counts.skipped), "attributes": _attributes([change, ("homeostat.outcome", "skipped")])}


def _sparse(counts: ArmCounts) -> dict[str, Any]:
    """Return the values of a histogram point whose bounds are those of the buckets that hold something."""
    from homeostat_agent.canary.histogram import lower_bound_s

    edges = sorted({edge for bucket in counts.buckets for edge in (bucket, bucket + 1)})
    filled = [0, *(counts.buckets.get(edge, 0) for edge in edges)]
    return {
        "count": str(counts.units),
        "sum": counts.sum_s,
        "explicitBounds": [lower_bound_s(edge) for edge in edges],
        "bucketCounts": [str(count) for count in filled],
    }


def _resource(context: HostContext) -> dict[str, Any]:
    return {
        "attributes": _attributes(
            [
                ("service.name", context.service_name),
                ("service.instance.id", context.process_id),
                ("process.pid", os.getpid()),
                ("vcs.ref.head.revision", context.commit),
            ]
        )
    }


def _log_record(record: Occurrence) -> dict[str, Any]:
    place = record.location
    return {
        "timeUnixNano": str(record.at_unix_ns),
        "severityNumber": record.severity_number,
        "severityText": record.severity_text,
        "body": {"stringValue": record.message},
        "attributes": _attributes(
            [
                ("exception.type", record.exception_type),
                ("exception.message", record.exception_message),
                ("code.file.path", place.path),
                ("code.function.name", place.function),
                ("code.line.number", place.line),
                ("http.route", record.route),
                ("homeostat.trace", [f"{frame.path}:{frame.line}:{frame.function}" for frame in record.trace]),
            ]
        ),
    }


def _attributes(pairs: Iterable[tuple[str, Any]]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in pairs if value]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": value}
