"""Metrics of any OpenTelemetry sender become ticks; what is not known is not made up."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from unit.telemetry.otlp_bodies import NOW, attributes, ns

from homeostat.core.errors import InvalidInput
from homeostat.model.vitals import LATENCY_BOUNDS_MS, VitalsTick
from homeostat.telemetry.otlp import CumulativeReader, Parsed, parse_metrics

START = NOW - timedelta(seconds=1)
DELTA, CUMULATIVE = 1, 2
BOUNDS_S = [bound / 1000 for bound in LATENCY_BOUNDS_MS]


def body(*metrics: Any, process: str = "process-1") -> dict[str, Any]:
    resource = {"attributes": attributes(service__instance__id=process)}
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": list(metrics)}]}]}


def point(counts: list[int], *, start: datetime = START, end: datetime = NOW, sum_s: float = 0.5, **more: Any) -> Any:
    known = {"bounds": BOUNDS_S, **more}
    return {
        "startTimeUnixNano": ns(start),
        "timeUnixNano": ns(end),
        "count": str(sum(counts)),
        "sum": sum_s,
        "explicitBounds": known.pop("bounds"),
        "bucketCounts": [str(number) for number in counts],
        "attributes": attributes(**known),
    }


def durations(*points: Any, temporality: Any = DELTA, **more: Any) -> dict[str, Any]:
    histogram = {"aggregationTemporality": temporality, "dataPoints": list(points)}
    return {"name": "http.server.request.duration", "unit": "s", "histogram": histogram, **more}


def gauge(name: str, **value: Any) -> dict[str, Any]:
    return {"name": name, "gauge": {"dataPoints": [{"timeUnixNano": ns(NOW), **value}]}}


def parse(sent: Any, reader: CumulativeReader | None = None) -> Parsed[VitalsTick]:
    return parse_metrics(sent, reader=reader or CumulativeReader(), now=NOW)


def counts_at(slot: int, number: int = 1) -> list[int]:
    counts = [0] * (len(LATENCY_BOUNDS_MS) + 1)
    counts[slot] = number
    return counts


def test_what_the_agent_sends_becomes_one_tick() -> None:
    errors = {"aggregationTemporality": DELTA, "dataPoints": [{"timeUnixNano": ns(NOW), "asInt": "3"}]}
    parsed = parse(
        body(
            durations(
                point(counts_at(2, 8), http__route="/orders"),
                point(counts_at(3, 2), http__route="/orders", error__type="KeyError", sum_s=0.25),
            ),
            {"name": "homeostat.errors_logged", "sum": errors},
            gauge("homeostat.loop_lag_max", asDouble=12.5),
            gauge("process.cpu.utilization", asDouble=0.25),
            gauge("process.memory.usage", asInt="1048576"),
            gauge("homeostat.dropped", asInt="7"),
            gauge("homeostat.generation", asInt="2"),
        )
    )
    (tick,) = parsed.records
    assert parsed.rejected == 0
    assert (tick.process_id, tick.start, tick.end) == ("process-1", START, NOW)
    assert (tick.requests, tick.errors, tick.errors_logged) == (10, 2, 3)
    assert tick.routes["/orders"].latency_ms_sum == 750
    assert tick.routes["/orders"].latency_ms_buckets[2:4] == (8, 2)
    assert (tick.loop_lag_ms_max, tick.cpu_percent, tick.memory_bytes) == (12.5, 25.0, 1 << 20)
    assert (tick.dropped, tick.generation) == (7, 2)


def test_a_process_without_traffic_still_ticks_and_missing_values_are_none() -> None:
    (tick,) = parse(body(gauge("homeostat.generation", asInt="0"))).records
    assert (tick.routes, tick.loop_lag_ms_max, tick.cpu_percent, tick.memory_bytes) == ({}, None, None, None)


def test_a_body_without_a_known_metric_makes_no_tick() -> None:
    parsed = parse(body(gauge("my.own.metric", asInt="1"), {"name": "x"}, {}))
    assert (parsed.records, parsed.rejected) == ((), 0)


def test_each_interval_of_each_process_is_a_tick_of_its_own() -> None:
    later = NOW - timedelta(seconds=30)
    sent = durations(
        point(counts_at(0, 1), start=later - timedelta(seconds=1), end=later),
        point(counts_at(0, 2), start=later, end=later + timedelta(seconds=1)),
    )
    both = body(sent)
    both["resourceMetrics"] += body(sent, process="process-2")["resourceMetrics"]
    ticks = parse(both).records
    assert [(tick.process_id, tick.requests) for tick in ticks] == [
        ("process-1", 1),
        ("process-1", 2),
        ("process-2", 1),
        ("process-2", 2),
    ]


@pytest.mark.parametrize(
    ("labels", "is_error"),
    [
        ({}, False),
        ({"error__type": "KeyError"}, True),
        ({"error__type": "500"}, True),
        ({"error__type": "404"}, False),
        ({"http__response__status_code": 200}, False),
        ({"http__response__status_code": 404, "error__type": "404"}, False),
        ({"http__response__status_code": 503}, True),
        ({"http__status_code": 500}, True),
    ],
)
def test_an_error_is_an_exception_or_a_status_from_500(labels: dict[str, Any], is_error: bool) -> None:
    (tick,) = parse(body(durations(point(counts_at(0), **labels)))).records
    assert tick.errors == int(is_error)


def test_series_that_differ_only_in_unread_attributes_add_up() -> None:
    sent = durations(point(counts_at(0), http__request__method="GET"), point(counts_at(1), http__request__method="PUT"))
    (tick,) = parse(body(sent)).records
    assert tick.routes[""].requests == 2


def test_other_bounds_and_units_are_counted_at_their_upper_bound() -> None:
    sent = point([1, 2, 3], bounds=[75, 750])
    (tick,) = parse(body({**durations(sent), "name": "http.server.duration", "unit": "ms"})).records
    expected = [0] * 14
    expected[LATENCY_BOUNDS_MS.index(100)] = 1
    expected[LATENCY_BOUNDS_MS.index(1000)] = 2
    expected[-1] = 3
    assert tick.routes[""].latency_ms_buckets == tuple(expected)
    assert tick.routes[""].latency_ms_sum == 0.5


def test_without_buckets_the_requests_count_and_their_latency_is_unknown() -> None:
    sent = {"timeUnixNano": ns(NOW), "count": 5}
    (tick,) = parse(body(durations(sent))).records
    assert tick.requests == 5
    assert set(tick.routes[""].latency_ms_buckets) == {0}


def test_an_exponential_histogram_is_read() -> None:
    # Scale 0 and offset -7: the buckets end at 1/64, 1/32 and 1/16 of a second.
    positive = {"offset": -7, "bucketCounts": ["1", "2", "3"]}
    sent = {"timeUnixNano": ns(NOW), "count": "7", "zeroCount": "1", "scale": 0, "sum": 0.1, "positive": positive}
    histogram = {"aggregationTemporality": DELTA, "dataPoints": [sent]}
    metric = {"name": "http.server.request.duration", "unit": "s", "exponentialHistogram": histogram}
    (tick,) = parse(body(metric)).records
    buckets = tick.routes[""].latency_ms_buckets
    assert buckets[0] == 1
    assert buckets[LATENCY_BOUNDS_MS.index(20)] == 1
    assert buckets[LATENCY_BOUNDS_MS.index(50)] == 2
    assert buckets[LATENCY_BOUNDS_MS.index(100)] == 3


def test_cumulative_counters_are_differenced() -> None:
    reader = CumulativeReader()
    began = NOW - timedelta(hours=1)

    def sent(number: int, at: datetime, kind: str = "GET") -> Any:
        one = point(counts_at(1, number), start=began, end=at, sum_s=number, http__request__method=kind)
        return body(durations(one, temporality=CUMULATIVE))

    ten = timedelta(seconds=10)
    assert parse(sent(1000, NOW - 3 * ten), reader).records == ()  # an hour of unknown requests
    (tick,) = parse(sent(1007, NOW - 2 * ten), reader).records
    assert (tick.requests, tick.start, tick.end) == (7, NOW - 3 * ten, NOW - 2 * ten)
    assert tick.routes[""].latency_ms_sum == 7000
    assert parse(sent(1007, NOW - 2 * ten), reader).records == ()  # the same request again
    assert parse(sent(4, NOW - ten), reader).records == ()  # started anew, and nobody says when
    assert [tick.requests for tick in parse(sent(6, NOW), reader).records] == [2]
    assert parse(sent(50, NOW, "PUT"), reader).records == ()  # another series


def test_a_young_cumulative_counter_is_counted_from_its_beginning() -> None:
    sent = point(counts_at(1, 5), start=NOW - timedelta(seconds=30))
    (tick,) = parse(body(durations(sent, temporality="AGGREGATION_TEMPORALITY_CUMULATIVE"))).records
    assert (tick.requests, tick.start) == (5, NOW - timedelta(seconds=30))


@pytest.mark.parametrize(
    "bad",
    [
        "x",
        None,
        {**point(counts_at(0)), "count": "-1"},
        {**point(counts_at(0)), "count": "many"},
        {**point(counts_at(0)), "count": 2},
        {**point(counts_at(0)), "count": str(2**60), "bucketCounts": []},
        {**point(counts_at(0)), "bucketCounts": ["1"]},
        {**point(counts_at(0)), "bucketCounts": "1"},
        {**point(counts_at(0)), "explicitBounds": [1, 1]},
        {**point([1, 0, 0]), "explicitBounds": [2, 1]},
        {**point(counts_at(0)), "explicitBounds": ["NaN"] * 13},
        {**point(counts_at(0)), "sum": "Infinity"},
        {**point(counts_at(0)), "sum": 1e300},
        {**point(counts_at(0)), "timeUnixNano": "x"},
        {**point(counts_at(0)), "attributes": 5},
        {**point(counts_at(0)), "bucketCounts": ["0"] * 2000, "explicitBounds": []},
    ],
)
def test_one_bad_point_is_counted_and_the_others_are_read(bad: Any) -> None:
    parsed = parse(body(durations(point(counts_at(0)), bad)))
    assert parsed.rejected == 1
    assert sum(tick.requests for tick in parsed.records) == 1


@pytest.mark.parametrize("temporality", [0, None, 3, "x"])
def test_points_without_a_temporality_are_rejected(temporality: Any) -> None:
    assert parse(body(durations(point(counts_at(0)), temporality=temporality))).rejected == 1


@pytest.mark.parametrize("value", [{}, {"asInt": "-1"}, {"asDouble": "NaN"}, {"asDouble": 1e300}, {"asInt": True}])
def test_gauges_without_a_usable_value_are_rejected(value: Any) -> None:
    parsed = parse(body(gauge("process.memory.usage", **value)))
    assert parsed.rejected == 1
    assert [tick.memory_bytes for tick in parsed.records] in ([], [None])


@pytest.mark.parametrize(
    ("bad", "place"),
    [
        ([], "the body is not an object"),
        ({"resourceMetrics": 1}, "resourceMetrics is not an array"),
        ({"resourceMetrics": [{"scopeMetrics": [{"metrics": {}}]}]}, "resourceMetrics[0].scopeMetrics[0].metrics"),
        (body({**durations(), "histogram": []}), "metrics[0].histogram is not an object"),
        (body({**durations(), "histogram": {"dataPoints": {}}}), "metrics[0].histogram.dataPoints is not an array"),
    ],
)
def test_a_body_with_a_broken_frame_is_refused_and_the_place_named(bad: Any, place: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(bad)
    assert caught.value.code == "bad-telemetry"
    assert place in caught.value.message


def test_routes_of_one_tick_are_bounded() -> None:
    points = [
        point(counts_at(0), http__route=f"/r{'x' * (index % 30)}/{chr(97 + index % 26)}{index}") for index in range(600)
    ]
    (tick,) = parse(body(durations(*points))).records
    assert tick.requests == 600
    assert len(tick.routes) <= 501
    assert tick.routes["(other)"].requests == 100
