"""Bodies as ARCHITECTURE.md has them under "Telemetry on the wire", and as the hub reads them."""

import json
import os
from datetime import UTC, datetime
from typing import Any

import pytest
from homeostat_agent.canary.counts import Counts
from homeostat_agent.canary.histogram import bucket_at, bucket_of
from homeostat_agent.canary.report import CanaryReport
from homeostat_agent.capture.frames import Frame
from homeostat_agent.capture.occurrence import Occurrence
from homeostat_agent.capture.traffic import LATENCY_BOUNDS_S, Series
from homeostat_agent.context import HostContext
from homeostat_agent.otlp import encode_logs, encode_metrics

from homeostat.telemetry.otlp import LOG_ATTRIBUTES, CumulativeReader, parse_logs, parse_metrics

PROCESS = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
COMMIT = "91c2e0d" + "0" * 33
CONTEXT = HostContext(repository="/srv/shop", commit=COMMIT, service_name="shop", process_id=PROCESS)
AT_NS = 1_795_196_058_813_186_104
NOW = datetime.fromtimestamp(AT_NS / 1e9, UTC)
TRACE = (Frame("shop/api.py", 12, "order"), Frame("shop/cart.py", 7, "Cart.price"))


def occurrence(**changes: Any) -> Occurrence:
    return Occurrence(
        at_unix_ns=AT_NS,
        severity_number=17,
        severity_text="ERROR",
        logger="shop.orders",
        message="could not price",
        exception_type="shop.errors.PriceError",
        exception_message="no price for 7",
        location=TRACE[-1],
        trace=TRACE,
        route="/orders/{order_id}",
    )._replace(**changes)


def attributes(holder: dict[str, Any]) -> dict[str, Any]:
    return {item["key"]: next(iter(item["value"].values())) for item in holder["attributes"]}


def snapshot(**changes: Any) -> dict[str, Any]:
    buckets = (0, 3) + (0,) * (len(LATENCY_BOUNDS_S) - 2) + (1,)
    return {
        "start_unix_ns": AT_NS - 10**9,
        "end_unix_ns": AT_NS,
        "requests": {
            ("/orders/{order_id}", ""): Series(0.25, buckets),
            ("/orders/{order_id}", "KeyError"): Series(0.5, (2,) + (0,) * len(LATENCY_BOUNDS_S)),
            ("/orders/{order_id}", "503"): Series(0.5, (1,) + (0,) * len(LATENCY_BOUNDS_S)),
        },
        "errors_logged": 3,
        "loop_lag_ms_max": 12.5,
        "cpu_utilization": 0.25,
        "memory_bytes": 65_000_000,
        "dropped": 4,
        **changes,
    }


def metrics(body: dict[str, Any]) -> dict[str, Any]:
    return {item["name"]: item for item in body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]}


def test_a_record_is_encoded_as_the_wire_has_it():
    body = encode_logs([occurrence()], CONTEXT)
    (resource,) = body["resourceLogs"]
    assert attributes(resource["resource"]) == {
        "service.name": "shop",
        "service.instance.id": PROCESS,
        "process.pid": str(os.getpid()),
        "vcs.ref.head.revision": COMMIT,
    }
    (scope,) = resource["scopeLogs"]
    assert scope["scope"] == {"name": "shop.orders"}
    (record,) = scope["logRecords"]
    assert record["timeUnixNano"] == str(AT_NS)
    assert (record["severityNumber"], record["severityText"]) == (17, "ERROR")
    assert record["body"] == {"stringValue": "could not price"}
    found = {item["key"]: item["value"] for item in record["attributes"]}
    assert found == {
        "exception.type": {"stringValue": "shop.errors.PriceError"},
        "exception.message": {"stringValue": "no price for 7"},
        "code.file.path": {"stringValue": "shop/cart.py"},
        "code.function.name": {"stringValue": "Cart.price"},
        "code.line.number": {"intValue": "7"},
        "http.route": {"stringValue": "/orders/{order_id}"},
        "homeostat.trace": {
            "arrayValue": {
                "values": [{"stringValue": "shop/api.py:12:order"}, {"stringValue": "shop/cart.py:7:Cart.price"}]
            }
        },
    }
    assert set(found) <= LOG_ATTRIBUTES
    json.dumps(body, allow_nan=False)


def test_what_is_not_known_is_left_out():
    bare = occurrence(
        exception_type="", exception_message="", location=Frame("", 0, ""), trace=(), route="", severity_number=13
    )
    body = encode_logs([bare], CONTEXT._replace(commit=None))
    assert body["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["attributes"] == []
    assert "vcs.ref.head.revision" not in attributes(body["resourceLogs"][0]["resource"])


def test_records_are_grouped_by_logger_in_their_order():
    records = [occurrence(logger=name, message=str(number)) for number, name in enumerate("abab")]
    scopes = encode_logs(records, CONTEXT)["resourceLogs"][0]["scopeLogs"]
    got = {scope["scope"]["name"]: [row["body"]["stringValue"] for row in scope["logRecords"]] for scope in scopes}
    assert got == {"a": ["0", "2"], "b": ["1", "3"]}


def test_the_hub_reads_the_record_that_was_sent():
    parsed = parse_logs(encode_logs([occurrence(), occurrence(severity_number=21)], CONTEXT), now=NOW)
    assert parsed.rejected == 0
    first, second = parsed.records
    assert (first.severity, second.severity) == ("error", "critical")
    assert first.at == NOW
    assert (first.logger, first.exception_type, first.message) == (
        "shop.orders",
        "shop.errors.PriceError",
        "no price for 7",
    )
    assert [(place.path, place.line, place.function) for place in first.trace] == [tuple(frame) for frame in TRACE]
    assert (first.location.path, first.location.line, first.location.function) == ("shop/cart.py", 7, "Cart.price")
    assert (first.route, first.commit, first.process_id) == ("/orders/{order_id}", COMMIT, PROCESS)


def test_metrics_are_encoded_as_the_wire_has_them():
    body = encode_metrics(snapshot(generation=0, serves=1), CONTEXT)
    json.dumps(body, allow_nan=False)
    found = metrics(body)
    assert set(found) == {
        "http.server.request.duration",
        "homeostat.errors_logged",
        "homeostat.loop_lag_max",
        "process.cpu.utilization",
        "process.memory.usage",
        "homeostat.dropped",
        "homeostat.generation",
        "homeostat.serves",
    }
    duration = found["http.server.request.duration"]
    assert duration["unit"] == "s"
    assert duration["histogram"]["aggregationTemporality"] == 1
    well, failed, busy = duration["histogram"]["dataPoints"]
    assert attributes(well) == {"http.route": "/orders/{order_id}"}
    assert attributes(failed) == {"http.route": "/orders/{order_id}", "error.type": "KeyError"}
    assert attributes(busy) == {"http.route": "/orders/{order_id}", "error.type": "503"}
    assert (well["count"], well["sum"], well["explicitBounds"]) == ("4", 0.25, list(LATENCY_BOUNDS_S))
    assert len(well["bucketCounts"]) == len(LATENCY_BOUNDS_S) + 1
    errors = found["homeostat.errors_logged"]["sum"]
    assert (errors["aggregationTemporality"], errors["isMonotonic"]) == (1, True)
    assert errors["dataPoints"][0]["asInt"] == "3"
    assert found["homeostat.loop_lag_max"]["gauge"]["dataPoints"][0]["asDouble"] == 12.5
    assert found["process.memory.usage"]["gauge"]["dataPoints"][0]["asInt"] == "65000000"


def test_an_unknown_gauge_is_left_out_and_a_zero_is_not():
    found = metrics(
        encode_metrics(
            snapshot(requests={}, loop_lag_ms_max=None, cpu_utilization=None, memory_bytes=None, dropped=0), CONTEXT
        )
    )
    assert set(found) == {"homeostat.errors_logged", "homeostat.dropped"}


def test_the_hub_reads_the_interval_that_was_sent():
    body = encode_metrics(snapshot(generation=2, serves=1), CONTEXT)
    parsed = parse_metrics(body, reader=CumulativeReader(), now=NOW)
    assert parsed.rejected == 0
    (tick,) = parsed.records
    route = tick.routes["/orders/{order_id}"]
    assert (route.requests, route.errors) == (7, 3)
    assert route.latency_ms_sum == pytest.approx(1250)
    assert route.latency_ms_buckets == (3, 3, *(0,) * (len(LATENCY_BOUNDS_S) - 2), 1)
    assert (tick.process_id, tick.errors_logged, tick.dropped, tick.generation) == (PROCESS, 3, 4, 2)
    assert (tick.loop_lag_ms_max, tick.cpu_percent, tick.memory_bytes) == (12.5, 25.0, 65_000_000)
    assert tick.serves
    assert (tick.end - tick.start).total_seconds() == pytest.approx(1.0, abs=0.001)


@pytest.mark.parametrize(
    "route", ["(unmatched)", "(other)", "/static/{path}", "/orders/<int:order_id>", "/^a/(?P<y>[0-9]{4})/$"]
)
def test_the_hub_keeps_the_labels_that_the_capture_makes(route):
    body = encode_metrics(snapshot(requests={(route, ""): Series(0.1, (1,) + (0,) * len(LATENCY_BOUNDS_S))}), CONTEXT)
    (tick,) = parse_metrics(body, reader=CumulativeReader(), now=NOW).records
    assert list(tick.routes) == [route]


def test_the_largest_record_fits_many_times_into_a_frame():
    """The sender takes 200 at once; a frame may have 4 MiB."""
    frames = tuple(Frame("d/" * 200, 10**6, "f" * 200) for _ in range(30))
    large = occurrence(message="ü" * 2000, exception_message="ü" * 2000, trace=frames, route="/r" * 100)
    assert len(json.dumps(encode_logs([large] * 150, CONTEXT), ensure_ascii=False).encode()) < 4 << 20


def canary(
    *units: tuple[bool, str, float], percent: float = 10, lapsed: bool = False, keyed: bool = False
) -> CanaryReport:
    counts = Counts(keyed=keyed)
    for new, kind, seconds in units:
        counts.add((new, kind, seconds, None))
    return CanaryReport("change-7", percent, counts.take(), lapsed)


def test_a_canary_is_told_by_arm_and_failure_with_a_sparse_distribution():
    report = canary((False, "", 0.2), (False, "", 0.2), (False, "", 0.21), (False, "", 3.0), (True, "KeyError", 0.2))
    found = metrics(encode_metrics(snapshot(canaries=(report,)), CONTEXT))
    points = found["homeostat.canary.duration"]["histogram"]["dataPoints"]
    old, new = ({**point, "attributes": attributes(point)} for point in points)
    assert old["attributes"] == {"homeostat.change": "change-7", "homeostat.arm": "control"}
    assert new["attributes"] == {"homeostat.change": "change-7", "homeostat.arm": "canary"}
    (failed,) = found["homeostat.canary.failures"]["sum"]["dataPoints"]
    assert (failed["asInt"], attributes(failed)) == ("1", {**new["attributes"], "error.type": "KeyError"})
    assert "homeostat.canary.at_risk" not in found
    assert (old["count"], new["count"]) == ("4", "1")
    edges, counts = old["explicitBounds"], old["bucketCounts"]
    assert len(counts) == len(edges) + 1
    assert (counts[0], counts[-1]) == ("0", "0")
    buckets = {bucket_at(edges[at]): int(count) for at, count in enumerate(counts[1:-1]) if count != "0"}
    assert buckets == {bucket_of(0.2): 2, bucket_of(0.21): 1, bucket_of(3.0): 1}
    (share,) = found["homeostat.canary.percent"]["gauge"]["dataPoints"]
    assert (share["asDouble"], attributes(share)) == (10.0, {"homeostat.change": "change-7"})
    assert "homeostat.canary.lapsed" not in found


def test_a_canary_without_traffic_is_told_too_and_a_lapse_once():
    found = metrics(encode_metrics(snapshot(canaries=(canary(percent=0, lapsed=True),)), CONTEXT))
    assert "homeostat.canary.duration" not in found
    assert found["homeostat.canary.percent"]["gauge"]["dataPoints"][0]["asDouble"] == 0
    (lapse,) = found["homeostat.canary.lapsed"]["sum"]["dataPoints"]
    assert (lapse["asInt"], attributes(lapse)) == ("1", {"homeostat.change": "change-7"})


def test_with_a_key_it_is_told_how_many_had_not_failed():
    found = metrics(encode_metrics(snapshot(canaries=(canary((True, "", 0.2), keyed=True),)), CONTEXT))
    points = found["homeostat.canary.at_risk"]["gauge"]["dataPoints"]
    assert {attributes(point)["homeostat.arm"]: point["asInt"] for point in points} == {"control": "0", "canary": "1"}


def test_without_a_canary_nothing_is_told_of_one():
    assert not any("canary" in name for name in metrics(encode_metrics(snapshot(), CONTEXT)))


def test_the_hub_takes_the_metrics_of_a_canary_for_no_vitals():
    body = encode_metrics(snapshot(canaries=(canary((True, "KeyError", 0.2), lapsed=True),)), CONTEXT)
    json.dumps(body, allow_nan=False)
    plain, beside = (
        parse_metrics(item, reader=CumulativeReader(), now=NOW) for item in (encode_metrics(snapshot(), CONTEXT), body)
    )
    assert beside == plain
    assert beside.rejected == 0
