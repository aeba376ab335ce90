"""What the agent writes is what the hub reads: the wire between them, end to end in memory."""

import json
from datetime import UTC, datetime, timedelta

from homeostat_agent.capture.frames import Frame
from homeostat_agent.capture.occurrence import Occurrence
from homeostat_agent.capture.traffic import LATENCY_BOUNDS_S, Series
from homeostat_agent.context import HostContext
from homeostat_agent.otlp import encode_logs, encode_metrics
from unit.telemetry.otlp_bodies import COMMIT, NOW, ns

from homeostat.model.finding import CodeLocation
from homeostat.model.vitals import LATENCY_BOUNDS_MS
from homeostat.telemetry.otlp import CumulativeReader, parse_logs, parse_metrics

CONTEXT = HostContext(repository="/srv/app", commit=COMMIT, service_name="orders", process_id="process-1")


def test_an_occurrence_of_the_agent_arrives_whole() -> None:
    frames = (Frame("orders/app.py", 5, "get_order"), Frame("orders/pricing.py", 17, "Pricing.total"))
    sent = Occurrence(
        at_unix_ns=int(ns(NOW)),
        severity_number=17,
        severity_text="ERROR",
        logger="orders.pricing",
        message="order failed",
        exception_type="orders.errors.PriceError",
        exception_message="no price for <*>",
        location=frames[-1],
        trace=frames,
        route="/orders/{order_id}/items/{item}",
    )
    body = json.loads(json.dumps(encode_logs([sent, sent._replace(severity_number=13, trace=())], CONTEXT)))
    parsed = parse_logs(body, now=NOW + timedelta(seconds=1))
    assert parsed.rejected == 0
    first, second = parsed.records
    assert (first.at, first.severity, first.logger) == (NOW, "error", "orders.pricing")
    assert (first.exception_type, first.message) == ("orders.errors.PriceError", "no price for <*>")
    assert first.location == CodeLocation(path="orders/pricing.py", function="Pricing.total", line=17)
    assert [(at.path, at.line, at.function) for at in first.trace] == [tuple(frame) for frame in frames]
    assert (first.route, first.commit, first.process_id) == (sent.route, COMMIT, "process-1")
    assert (second.severity, second.trace, second.location) == ("warning", (), first.location)


def test_vitals_of_the_agent_arrive_whole() -> None:
    buckets = tuple(range(len(LATENCY_BOUNDS_S) + 1))
    snapshot = {
        "start_unix_ns": int(ns(NOW - timedelta(seconds=1))),
        "end_unix_ns": int(ns(NOW)),
        "requests": {("/orders", ""): Series(1.5, buckets), ("/orders", "KeyError"): Series(0.5, buckets)},
        "errors_logged": 4,
        "loop_lag_ms_max": 12.5,
        "cpu_utilization": 0.5,
        "memory_bytes": 1 << 30,
        "dropped": 3,
        "generation": 2,
    }
    body = json.loads(json.dumps(encode_metrics(snapshot, CONTEXT)))
    parsed = parse_metrics(body, reader=CumulativeReader(), now=NOW)
    assert parsed.rejected == 0
    (tick,) = parsed.records
    route = tick.routes["/orders"]
    assert (route.requests, route.errors, route.latency_ms_sum) == (2 * sum(buckets), sum(buckets), 2000)
    assert route.latency_ms_buckets == tuple(2 * count for count in buckets)
    assert (tick.start, tick.end, tick.errors_logged) == (NOW - timedelta(seconds=1), NOW, 4)
    assert (tick.loop_lag_ms_max, tick.cpu_percent, tick.memory_bytes) == (12.5, 50.0, 1 << 30)
    assert (tick.dropped, tick.generation) == (3, 2)


def test_both_ends_have_the_same_latency_bounds() -> None:
    assert [round(bound * 1000, 6) for bound in LATENCY_BOUNDS_S] == list(LATENCY_BOUNDS_MS)


def test_an_idle_process_of_the_agent_still_ticks() -> None:
    now = datetime.now(UTC)
    snapshot = {"start_unix_ns": 1, "end_unix_ns": int(ns(now)), "requests": {}, "errors_logged": 0}
    (tick,) = parse_metrics(encode_metrics(snapshot, CONTEXT), reader=CumulativeReader(), now=now).records
    assert (tick.requests, tick.errors_logged, tick.memory_bytes) == (0, 0, None)
