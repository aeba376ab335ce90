"""OTLP in protobuf, which OpenTelemetry's SDKs send by default: taken as its JSON is, answered in protobuf."""

import gzip
import logging
import socket
import threading
import time
from contextlib import contextmanager
from urllib.parse import quote

import otlp_samples
import pytest
import uvicorn
from google.protobuf.json_format import MessageToDict, ParseDict
from google.rpc.status_pb2 import Status
from hub_harness import BOT_TOKEN, Served
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from otlp_samples import BAD, POINT, RECORD

from homeostat.core.limits import MAX_HTTP_BODY_BYTES
from homeostat.hub.http_guard import GuardedProtocol
from homeostat.telemetry.otlp_protobuf import read_logs, read_metrics, status
from homeostat.testing.world import World

PATIENCE_S = 60.0  # matters only where the test fails
PROTOBUF = "application/x-protobuf"
SENT = {"Content-Type": PROTOBUF}
PATHS = ["/v1/logs", "/v1/metrics"]


def logs(*records):
    return ParseDict(otlp_samples.logs(*records), ExportLogsServiceRequest()).SerializeToString()


def metrics(*points):
    return ParseDict(otlp_samples.metrics(*points), ExportMetricsServiceRequest()).SerializeToString()


def told(answer):
    """Return the message of an error's `google.rpc.Status`."""
    assert answer.headers["Content-Type"] == PROTOBUF and int(answer.headers["Content-Length"]) == len(answer.content)
    return Status.FromString(answer.content).message


def test_error_records_become_a_finding_cleaned_as_from_json(bot):
    answer = bot.post("/v1/logs", content=logs(RECORD, RECORD, RECORD), headers=SENT)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, PROTOBUF)
    assert not ExportLogsServiceResponse.FromString(answer.content).HasField("partial_success")
    (found,) = bot.get("/api/findings").json()["findings"]
    assert found["count"] == 3 and "KeyError" in found["title"]
    shown = bot.get(f"/api/findings/{found['finding_id']}").text
    assert "ada@example.com" not in shown and "hunter2" not in shown


def test_what_cannot_be_read_is_counted_as_partial_success(served, bot):
    answer = bot.post("/v1/logs", content=logs(RECORD, BAD, BAD), headers=SENT)
    partial = ExportLogsServiceResponse.FromString(answer.content).partial_success
    assert answer.status_code == 200 and partial.rejected_log_records == 2 and partial.error_message
    assert served.metric("homeostat_ingested_total", signal="logs", result="rejected") == 2
    answer = bot.post("/v1/metrics", content=metrics(POINT, {**POINT, "bucketCounts": ["1"]}), headers=SENT)
    partial = ExportMetricsServiceResponse.FromString(answer.content).partial_success
    assert answer.status_code == 200 and partial.rejected_data_points == 1 and partial.error_message


def test_metrics_are_stored_as_ticks_that_no_agent_vouches_for(served, bot):
    answer = bot.post("/v1/metrics", content=metrics(POINT), headers=SENT)
    assert (answer.status_code, answer.headers["Content-Type"], answer.content) == (200, PROTOBUF, b"")
    ticks = served.world.store.vitals._memory.rows.ticks
    assert [(tick.process_id, tick.requests) for tick in ticks] == [("otlp:p-1", 2)]


@pytest.mark.parametrize("path", PATHS)
def test_an_empty_export_is_fine(bot, path):
    answer = bot.post(path, content=b"", headers=SENT)
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_gzip_body_is_taken_and_half_of_one_is_not(bot):
    packed = gzip.compress(logs(RECORD))
    encoded = {**SENT, "Content-Encoding": "gzip"}
    assert bot.post("/v1/logs", content=packed, headers=encoded).status_code == 200
    for data in (packed[:-1], b"", logs(RECORD), gzip.compress(b"\xff")):
        answer = bot.post("/v1/logs", content=data, headers=encoded)
        assert answer.status_code == 400 and told(answer).startswith("bad-telemetry: ")


@pytest.mark.parametrize("path", PATHS)
def test_a_body_over_the_limit_is_refused_as_sent_and_as_inflated(bot, path):
    large = b" " * (MAX_HTTP_BODY_BYTES + 1)
    for data, more in ((large, {}), (gzip.compress(large), {"Content-Encoding": "gzip"})):
        answer = bot.post(path, content=data, headers={**SENT, **more})
        assert answer.status_code == 413 and told(answer).startswith("body-too-large: ")


def delimited(number, data):
    """A field with its length before it."""
    length, size = len(data), b""
    while length > 0x7F:
        size, length = size + bytes([length & 0x7F | 0x80]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + data


def nested(levels):
    value = delimited(1, b"x")
    for _ in range(levels):
        value = delimited(5, delimited(1, value))
    for number in (5, 2, 2, 1):  # body, log_records, scope_logs, resource_logs
        value = delimited(number, value)
    return value


@pytest.mark.parametrize(("levels", "status_code"), [(0, 200), (40, 200), (47, 200), (60, 400), (20_000, 400)])
def test_deep_nesting_is_taken_or_refused_and_no_crash(served, bot, levels, status_code):
    answer = bot.post("/v1/logs", content=nested(levels), headers=SENT)
    assert answer.status_code == status_code, answer.content
    assert served.metric("homeostat_errors_total", label="bug") == 0


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("data", [b"\xff", b"{}", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\x0a"], ids=range(4))
def test_what_is_no_protobuf_is_a_400_that_says_so(bot, path, data):
    answer = bot.post(path, content=data, headers=SENT)
    assert answer.status_code == 400 and told(answer) == "bad-telemetry: the body is not OTLP in protobuf"


def test_every_refusal_is_told_in_protobuf(served, bot):
    nobody, secret = served.client(None), served.client(None, Host="evil.example")
    assert told(nobody.post("/v1/logs", content=b"", headers=SENT)).startswith("unauthenticated: ")
    assert told(secret.post("/v1/logs", content=b"", headers=SENT)).startswith("foreign-host: ")
    answer = bot.post("/v1/logs", content=b"", headers={**SENT, "Content-Encoding": "br"})
    assert answer.status_code == 415 and told(answer).startswith("unsupported-encoding: ")
    served.without_store("findings", "vitals")
    answer = bot.post("/v1/logs", content=logs(RECORD), headers=SENT)
    assert answer.status_code == 503 and told(answer).startswith("store-locked: ")


def test_a_crash_is_told_in_protobuf_without_its_details(served, bot):
    object.__setattr__(served.context.deps, "findings", object())
    answer = bot.post("/v1/logs", content=logs(RECORD), headers=SENT)
    assert answer.status_code == 500 and told(answer) == "bug: the hub failed to answer; its log has the details"


def test_a_sender_of_traces_is_told_that_there_is_no_place_for_them(bot):
    answer = bot.post("/v1/traces", content=b"", headers=SENT)
    assert answer.status_code == 404 and told(answer).startswith("no-traces: ") and "OTEL_TRACES" in told(answer)
    assert bot.post("/v1/traces", json={}).json()["title"] == "no-traces"


@pytest.mark.parametrize("text", ["", "x", "x" * 127, "x" * 128, "ü" * 9000, "\ud800"])
def test_a_status_is_read_by_googles_own_code(text):
    read = Status.FromString(status(text))
    assert (read.code, read.message) == (0, text.encode("utf-8", "backslashreplace").decode())


SPECIAL = st.sampled_from([logs(RECORD), logs(RECORD, BAD), metrics(POINT)])
CUT = st.builds(lambda data, at: data[: at % len(data)], SPECIAL, st.integers(0, 10_000))
ALTERED = st.builds(
    lambda data, at, put: data[: at % len(data)] + put + data[at % len(data) + 1 :],
    SPECIAL,
    st.integers(0, 10_000),
    st.binary(max_size=3),
)


@pytest.fixture(scope="module")
def taker(tmp_path_factory):
    with Served(World(), tmp_path_factory.mktemp("state")) as opened:
        yield opened.client(BOT_TOKEN)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=100) | CUT | ALTERED, path=st.sampled_from(PATHS))
def test_any_bytes_are_taken_or_refused_in_protobuf(taker, data, path):
    answer = taker.post(path, content=data, headers=SENT)
    assert answer.status_code in (200, 400), answer.content
    if answer.status_code == 400:
        assert told(answer).startswith("bad-telemetry: ")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=ALTERED | CUT)
def test_a_request_is_read_as_protobufs_own_json_mapping_has_it(data):
    for kind, read in ((ExportLogsServiceRequest, read_logs), (ExportMetricsServiceRequest, read_metrics)):
        try:
            message = kind.FromString(data)
        except Exception:
            continue
        own = MessageToDict(message, use_integers_for_enums=True)
        assert ParseDict(read(data), kind(), ignore_unknown_fields=False) == ParseDict(own, kind())
        assert read(data).keys() == own.keys()


@contextmanager
def listening(app):
    """Serve an application on a loopback port of its own, with the hub's protocol; yields the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, http=GuardedProtocol, ws="none", log_config=None, access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        end_s = time.monotonic() + PATIENCE_S
        while not server.started:
            assert time.monotonic() < end_s
            threading.Event().wait(0.002)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@pytest.fixture
def configured(served, monkeypatch):
    """The SDK's own variables, as http.md gives them, for a hub on a real socket."""
    with listening(served.app) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=" + quote(f"Bearer {BOT_TOKEN}"))
        yield url


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_logging_through_opentelemetrys_sdk_makes_a_finding(configured, bot, monkeypatch, compression):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
    provider = LoggerProvider(resource=Resource.create({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter()))
    logger, handler = logging.Logger("shop.orders"), LoggingHandler(logger_provider=provider)
    logger.addHandler(handler)
    for number in range(3):
        try:
            {}[number]
        except KeyError:
            logger.exception("no order %d for ada@example.com", number)
    logger.info("all is well")
    provider.shutdown()
    (found,) = bot.get("/api/findings").json()["findings"]
    assert (found["count"], found["exception_type"]) == (3, "KeyError")
    assert "ada@example.com" not in bot.get(f"/api/findings/{found['finding_id']}").text


def test_a_histogram_through_opentelemetrys_sdk_makes_ticks(configured, served):
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(), export_interval_millis=3_600_000)
    resource = Resource.create({"service.instance.id": "p-7"})
    provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    duration = provider.get_meter("shop").create_histogram("http.server.request.duration", unit="s")
    for _ in range(2):  # the first report of a counter that only grows is where counting begins
        duration.record(0.1, {"http.route": "/price", "http.response.status_code": 200})
        assert provider.force_flush()
    provider.shutdown()
    ticks = served.world.store.vitals._memory.rows.ticks
    assert {tick.process_id for tick in ticks} == {"otlp:p-7"} and sum(tick.requests for tick in ticks) >= 1
