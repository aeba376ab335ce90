"""OTLP/JSON metrics into vitals: request durations per route, and the few counters and gauges that are known."""

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from homeostat.core.errors import InvalidInput
from homeostat.core.limits import MAX_OTLP_RECORDS
from homeostat.model.vitals import LATENCY_BOUNDS_MS, RouteVitals, VitalsTick
from homeostat.telemetry import origin
from homeostat.telemetry.cumulative import CumulativeReader, Reading
from homeostat.telemetry.otlp_json import (
    BadRecord,
    Parsed,
    Value,
    count,
    enum,
    finite,
    items,
    objects,
    pairs,
    text,
    time_at,
)

POINT_ATTRIBUTES = frozenset({"http.route", "error.type", "http.response.status_code", "http.status_code"})
MAX_ROUTES = 500
OTHER_ROUTE = "(other)"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_TICK = timedelta(milliseconds=500)
"""Points of one process that end within this of each other were taken together."""

_MAX_BUCKETS = 1_000
_MAX_NUMBER = float(2**53)
"""Above this, numbers are no longer exact, and a store's integers end soon after."""

_TEMPORALITY = {"AGGREGATION_TEMPORALITY_DELTA": 1, "AGGREGATION_TEMPORALITY_CUMULATIVE": 2}
_DELTA, _CUMULATIVE = 1, 2
_MS_OF_UNIT = {"s": 1000.0, "ms": 1.0, "us": 0.001, "ns": 0.000001}

_DURATIONS = {"http.server.request.duration": "s", "http.server.duration": "ms"}
"""Histograms of requests, and their unit where the sender does not say it."""

_GAUGES = frozenset(
    {
        "homeostat.loop_lag_max",
        "process.cpu.utilization",
        "process.memory.usage",
        "homeostat.dropped",
        "homeostat.generation",
        "homeostat.serves",
    }
)
_ERRORS_LOGGED = "homeostat.errors_logged"


@dataclass(slots=True, kw_only=True)
class _Tick:
    """What is being gathered of one process and one interval."""

    end: datetime
    start: datetime | None = None
    routes: dict[str, RouteVitals] = field(default_factory=dict)
    errors_logged: int = 0
    gauges: dict[str, float] = field(default_factory=dict)

    def cover(self, start: datetime | None) -> None:
        if start is not None and start <= self.end:
            self.start = start if self.start is None else min(self.start, start)

    def add_route(self, name: str, vitals: RouteVitals) -> None:
        if name not in self.routes and len(self.routes) >= MAX_ROUTES:
            name = OTHER_ROUTE
        self.routes[name] = _sum(self.routes[name], vitals) if name in self.routes else vitals


@dataclass(slots=True, kw_only=True)
class _Process:
    """The ticks of one process in this body."""

    id: str
    ticks: dict[int, _Tick] = field(default_factory=dict)
    """By their end, in spans of `_ONE_TICK`: there is at most one in each."""

    def tick(self, start: datetime | None, end: datetime) -> _Tick:
        span = (end - _EPOCH) // _ONE_TICK
        near = (self.ticks.get(key) for key in (span, span - 1, span + 1))
        found = next((tick for tick in near if tick is not None and abs(tick.end - end) <= _ONE_TICK), None)
        if found is None:
            found = self.ticks[span] = _Tick(end=end)
        found.cover(start)
        return found

    def finished(self) -> Iterator[VitalsTick]:
        for tick in sorted(self.ticks.values(), key=lambda item: item.end):
            gauges = tick.gauges
            cpu = gauges.get("process.cpu.utilization")
            memory = gauges.get("process.memory.usage")
            yield VitalsTick(
                process_id=self.id,
                start=tick.start or tick.end,
                end=tick.end,
                routes=tick.routes,
                errors_logged=tick.errors_logged,
                loop_lag_ms_max=gauges.get("homeostat.loop_lag_max"),
                cpu_percent=None if cpu is None else cpu * 100,
                memory_bytes=None if memory is None else int(memory),
                dropped=int(gauges.get("homeostat.dropped", 0)),
                generation=int(gauges.get("homeostat.generation", 0)),
                serves=gauges.get("homeostat.serves", 0) > 0,
            )


def parse_metrics(body: Mapping[str, Any], *, reader: CumulativeReader, now: datetime) -> Parsed[VitalsTick]:
    """Read an ``ExportMetricsServiceRequest`` into ticks, oldest first for each process.

    Metrics other than the known ones are skipped. A point that cannot be read is rejected; a cumulative one
    whose predecessor is not known is neither read nor rejected. Latencies of senders with other bounds are
    counted in the bucket that holds the upper bound of theirs; without buckets they are not known, and all
    buckets of the route are 0. `InvalidInput` (``bad-telemetry``) where the frame of the body is wrong.
    """
    if not isinstance(body, Mapping):
        raise InvalidInput("bad-telemetry", "the body is not an object")
    processes: dict[str, _Process] = {}
    rejected = seen = 0
    for resource, place in objects(body, "resourceMetrics", ""):
        process_id, _ = origin.resource_of(resource, place)
        process = processes.setdefault(process_id, _Process(id=process_id))
        for metric, kind, point in _points(resource, place):
            seen += 1
            try:
                if seen > MAX_OTLP_RECORDS:
                    raise BadRecord("beyond the limit")
                _take(process, metric, kind, point, reader, now)
            except BadRecord:
                rejected += 1
    ticks = tuple(tick for process in processes.values() for tick in process.finished())
    return Parsed(records=ticks, rejected=rejected)


def _points(resource: Mapping[str, Any], place: str) -> Iterator[tuple[Mapping[str, Any], str, Any]]:
    """Yield (metric, kind of data, data point) of the known metrics."""
    for scope, scope_place in objects(resource, "scopeMetrics", place):
        for metric, metric_place in objects(scope, "metrics", scope_place):
            name = str(metric.get("name"))
            if name in _DURATIONS:
                kinds: tuple[str, ...] = ("histogram", "exponentialHistogram")
            elif name == _ERRORS_LOGGED or name in _GAUGES:
                kinds = ("gauge", "sum")
            else:
                continue
            for kind in kinds:
                data = metric.get(kind)
                if data is None:
                    continue
                if not isinstance(data, dict):
                    raise InvalidInput("bad-telemetry", f"{metric_place}{kind} is not an object")
                for point in items(data, "dataPoints", f"{metric_place}{kind}."):
                    yield metric, kind, point


def _take(
    process: _Process, metric: Mapping[str, Any], kind: str, point: object, reader: CumulativeReader, now: datetime
) -> None:
    if not isinstance(point, dict):
        raise BadRecord("not an object")
    name: str = metric["name"]
    attributes = pairs(point.get("attributes"), allow=POINT_ATTRIBUTES)
    end = time_at(point.get("timeUnixNano"), now=now) or now
    if name in _GAUGES:
        number = _number(point)
        gauges = process.tick(None, end).gauges
        # One value an attribute set (user and system time, say): together they are the process's.
        gauges[name] = gauges.get(name, 0.0) + number if name == "process.cpu.utilization" else number
        return
    values: tuple[float, ...]
    bounds: tuple[float, ...] = ()
    if name == _ERRORS_LOGGED:
        values = (float(count(_number(point))),)
    else:
        bounds, values = _histogram(
            point, kind, _MS_OF_UNIT.get(str(metric.get("unit")), _MS_OF_UNIT[_DURATIONS[name]])
        )
    reading = Reading(
        start_ns=count(point.get("startTimeUnixNano")), time_ns=count(point.get("timeUnixNano")), values=values
    )
    temporality = enum(metric[kind].get("aggregationTemporality"), _TEMPORALITY) if kind != "gauge" else _DELTA
    if temporality == _CUMULATIVE:
        # All attributes tell series apart, those that are never read too; only their hash is kept.
        told_apart_by = sorted(point.get("attributes") or (), key=lambda item: str(item["key"]))
        series = (process.id, name, bounds, hash(repr(told_apart_by)))
        difference = reader.difference(series, reading)
        if difference is None:
            return
        reading = difference
    elif temporality != _DELTA:
        raise BadRecord("no aggregation temporality")
    tick = process.tick(time_at(reading.start_ns, now=now), end)
    if name == _ERRORS_LOGGED:
        tick.errors_logged += int(reading.values[0])
    else:
        tick.add_route(
            origin.route(text(attributes.get("http.route"))), _route_vitals(reading.values, bounds, attributes)
        )


def _number(point: Mapping[str, Any]) -> float:
    if point.get("asDouble") is not None:
        number = finite(point["asDouble"])
    elif point.get("asInt") is not None:
        number = finite(point["asInt"])
    else:
        raise BadRecord("a point without a value")
    if not 0 <= number <= _MAX_NUMBER:
        raise BadRecord("negative, or beyond reason")
    return number


def _histogram(point: Mapping[str, Any], kind: str, unit_ms: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return (upper bounds in ms, (count, sum in ms, counts of the buckets...)); the last bucket has no bound."""
    total = count(point.get("count"))
    sum_ms = max(finite(point.get("sum") or 0.0), 0.0) * unit_ms
    if max(total, sum_ms) > _MAX_NUMBER:
        raise BadRecord("beyond reason")
    if kind == "histogram":
        counts = [count(item) for item in _list(point, "bucketCounts")]
        bounds = [finite(item) * unit_ms for item in _list(point, "explicitBounds")]
        if counts and (len(counts) != len(bounds) + 1 or any(a >= b for a, b in pairwise(bounds))):
            raise BadRecord("bounds and buckets do not fit")
    else:
        counts, bounds = _exponential(point, unit_ms)
    if counts and sum(counts) != total:
        raise BadRecord("the buckets do not add up to the count")
    return tuple(bounds if counts else ()), (float(total), sum_ms, *map(float, counts))


def _exponential(point: Mapping[str, Any], unit_ms: float) -> tuple[list[int], list[float]]:
    """Return counts and bounds of an exponential histogram: bucket i ends at base ** (offset + i + 1)."""
    scale = int(finite(point.get("scale") or 0))
    positive = point.get("positive") or {}
    if not isinstance(positive, dict) or not -10 <= scale <= 20:
        raise BadRecord("not an exponential histogram")
    counts = [count(item) for item in _list(positive, "bucketCounts")]
    offset = int(finite(positive.get("offset") or 0))
    exponents = [(offset + index + 1) * 2.0**-scale for index in range(len(counts))]
    if any(abs(exponent) > 60 for exponent in exponents):
        raise BadRecord("a bound beyond reason")
    zero = count(point.get("zeroCount"))
    return [zero, *counts, 0], [0.0, *(math.pow(2.0, exponent) * unit_ms for exponent in exponents)]


def _list(parent: Mapping[str, Any], key: str) -> list[Any]:
    value = parent.get(key) or []
    if not isinstance(value, list) or len(value) > _MAX_BUCKETS:
        raise BadRecord(f"{key} is not an array, or too long")
    return value


def _route_vitals(values: Sequence[float], bounds: Sequence[float], attributes: Mapping[str, Value]) -> RouteVitals:
    requests = int(values[0])
    buckets = [0] * (len(LATENCY_BOUNDS_MS) + 1)
    for index, number in enumerate(values[2:]):
        # A hair less, because 0.05 s and 50 ms need not be the same double.
        slot = bisect_left(LATENCY_BOUNDS_MS, bounds[index] * (1 - 1e-9)) if index < len(bounds) else -1
        buckets[slot] += int(number)
    return RouteVitals(
        requests=requests,
        errors=requests if _is_error(attributes) else 0,
        latency_ms_sum=values[1],
        latency_ms_buckets=tuple(buckets),
    )


def _is_error(attributes: Mapping[str, Value]) -> bool:
    """Tell errors of the server: an exception or a status from 500. Semantic conventions say the same."""
    status = attributes.get("http.response.status_code", attributes.get("http.status_code"))
    if isinstance(status, int):
        return status >= 500
    kind = str(attributes.get("error.type") or "")
    return int(kind) >= 500 if kind.isascii() and kind.isdigit() and len(kind) == 3 else bool(kind)


def _sum(one: RouteVitals, other: RouteVitals) -> RouteVitals:
    return RouteVitals(
        requests=one.requests + other.requests,
        errors=one.errors + other.errors,
        latency_ms_sum=one.latency_ms_sum + other.latency_ms_sum,
        latency_ms_buckets=tuple(a + b for a, b in zip(one.latency_ms_buckets, other.latency_ms_buckets, strict=True)),
    )
