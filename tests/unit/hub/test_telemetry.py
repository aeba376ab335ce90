"""OTLP over HTTP: what any sender posts is taken, counted or refused, and never breaks the hub."""

import gzip
import json
import zlib

import pytest
from otlp_samples import BAD, POINT, RECORD, logs, metrics

from homeostat.core.limits import MAX_HTTP_BODY_BYTES


def test_error_records_become_a_finding_at_the_floor_cleaned(bot):
    answer = bot.post("/v1/logs", json=logs(RECORD, RECORD, RECORD))
    assert (answer.status_code, answer.json()) == (200, {"partialSuccess": {}})
    found = bot.get("/api/findings").json()["findings"]
    assert [item["count"] for item in found] == [3]
    shown = bot.get(f"/api/findings/{found[0]['finding_id']}")
    assert shown.status_code == 200 and len(shown.json()["samples"]) == 2  # of one request
    assert "ada@example.com" not in shown.text and "hunter2" not in shown.text
    assert bot.get("/api/findings/f-0000000000000000").status_code == 404
    beginning = found[0]["finding_id"][:6]
    assert bot.get(f"/api/findings/{beginning}").json() == shown.json()
    assert bot.get(f"/api/findings/{beginning[:5]}").status_code == 404  # too short to mean one
    assert bot.get("/api/findings", params={"limit": 0}).status_code == 400


def test_a_finding_names_the_proposal_that_is_for_it(served, bot):
    bot.post("/v1/logs", json=logs(RECORD, RECORD, RECORD))
    (found,) = bot.get("/api/findings").json()["findings"]
    identity = served.submit(finding_id=found["finding_id"])
    (found,) = bot.get("/api/findings").json()["findings"]
    assert found["evidence"][-1] == f"proposal {identity[:8]} is for it: awaiting approval"


def test_attached_processes_are_listed(bot):
    body = bot.get("/api/processes").json()
    assert [item["pid"] for item in body["processes"]] == [4711]


def test_what_cannot_be_read_is_counted_as_partial_success(served, bot):
    answer = bot.post("/v1/logs", json=logs(RECORD, BAD, BAD))
    partial = answer.json()["partialSuccess"]
    assert answer.status_code == 200 and partial["rejectedLogRecords"] == "2" and partial["errorMessage"]
    assert served.metric("homeostat_ingested_total", signal="logs", result="accepted") == 1
    assert served.metric("homeostat_ingested_total", signal="logs", result="rejected") == 2
    answer = bot.post("/v1/metrics", json=metrics(POINT, {**POINT, "count": "-1"}))
    assert answer.json()["partialSuccess"]["rejectedDataPoints"] == "1"


def test_metrics_are_stored_as_ticks_that_no_agent_vouches_for(served, bot):
    assert bot.post("/v1/metrics", json=metrics(POINT)).json() == {"partialSuccess": {}}
    ticks = served.world.store.vitals._memory.rows.ticks
    assert [(tick.process_id, tick.requests) for tick in ticks] == [("otlp:p-1", 2)]


def test_an_empty_export_is_fine(bot):
    for path in ("/v1/logs", "/v1/metrics"):
        assert bot.post(path, json={}).json() == {"partialSuccess": {}}


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " gzip "])
def test_a_gzip_body_is_taken(bot, encoding):
    data = gzip.compress(json.dumps(logs(RECORD)).encode())
    answer = bot.post("/v1/logs", content=data, headers={"Content-Encoding": encoding, **JSON})
    assert answer.status_code == 200


JSON = {"Content-Type": "application/json; charset=utf-8"}


def test_a_deflate_body_is_taken(bot):
    data = zlib.compress(json.dumps(logs(RECORD)).encode())
    answer = bot.post("/v1/logs", content=data, headers={"Content-Encoding": "deflate", **JSON})
    assert answer.status_code == 200


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@pytest.mark.parametrize("path", ["/v1/logs", "/v1/metrics"])
def test_a_bomb_is_refused_before_it_is_inflated(bot, path, encoding, compress):
    for size in (MAX_HTTP_BODY_BYTES + 1, 64 << 20):
        answer = bot.post(path, content=compress(b" " * size, 9), headers={"Content-Encoding": encoding, **JSON})
        assert (answer.status_code, answer.json()["title"]) == (413, "body-too-large")


DEEP = "[" * 900 + "]" * 900


@pytest.mark.parametrize(
    "body",
    [
        logs({**RECORD, "body": {"arrayValue": "DEEP"}}),
        logs({**RECORD, "attributes": [{"key": "exception.message", "value": "DEEP"}]}),
        {"resourceLogs": "DEEP"},
        {"unknown": "DEEP"},
    ],
    ids=range(4),
)
def test_what_is_nested_almost_as_deep_as_the_interpreter_goes_is_no_crash(served, bot, body):
    data = json.dumps(body).replace('"DEEP"', DEEP)
    for path in ("/v1/logs", "/v1/metrics"):
        assert bot.post(path, content=data, headers=JSON).status_code in (200, 400)
    assert served.metric("homeostat_errors_total", label="bug") == 0


def test_a_cumulative_series_told_apart_by_something_deep_is_refused(served, bot):
    point = {"timeUnixNano": "1", "count": "1", "attributes": [{"key": "x", "value": "DEEP"}]}
    data = {"name": "http.server.request.duration", "histogram": {"aggregationTemporality": 2, "dataPoints": [point]}}
    body = json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [data]}]}]}).replace('"DEEP"', DEEP)
    answer = bot.post("/v1/metrics", content=body, headers=JSON)
    assert answer.status_code in (200, 400), answer.text
    assert served.metric("homeostat_errors_total", label="bug") == 0


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(b"{}")[:-1],
        gzip.compress(b"{}")[:10],
        gzip.compress(b"{}") + b"x",
        gzip.compress(b"{}") * 2,
        b"\x1f\x8b",
        b"",
        b"{}",
        zlib.compress(b"{}"),
        gzip.compress(b"\xff\xfe"),
    ],
    ids=range(9),
)
def test_what_is_not_one_whole_gzip_stream_of_json_is_refused(bot, data):
    answer = bot.post("/v1/logs", content=data, headers={"Content-Encoding": "gzip", **JSON})
    assert (answer.status_code, answer.json()["title"]) == (400, "bad-telemetry")


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
def test_other_encodings_are_refused_with_those_that_are_taken(bot, encoding):
    answer = bot.post("/v1/logs", content=b"{}", headers={"Content-Encoding": encoding, **JSON})
    assert (answer.status_code, answer.headers["Accept-Encoding"]) == (415, "gzip, deflate")


@pytest.mark.parametrize("path", ["/v1/logs", "/v1/metrics"])
@pytest.mark.parametrize("kind", ["application/protobuf", "text/plain", "application/jsonp", "x" * 5000])
def test_other_types_are_refused_with_the_remedy(bot, path, kind):
    answer = bot.post(path, content=b"\x0a\x00", headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["title"]) == (415, "unsupported-media-type")
    assert "application/json" in answer.json()["details"]
    assert "http/json" in answer.json()["hint"] and len(answer.text) < 1000


@pytest.mark.parametrize("path", ["/v1/logs", "/v1/metrics"])
@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"null", b"5", b'"x"', b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000],
    ids=range(10),
)
def test_a_body_that_is_no_json_object_is_refused(served, bot, path, data):
    answer = bot.post(path, content=data, headers=JSON)
    assert (answer.status_code, answer.json()["ok"]) == (400, False)
    assert served.metric("homeostat_errors_total", label="bug") == 0


@pytest.mark.parametrize(
    "body",
    [
        {"resourceLogs": 5},
        {"resourceLogs": [5]},
        {"resourceLogs": [{"scopeLogs": "x"}]},
        {"resourceLogs": [{"scopeLogs": [{"logRecords": {}}]}]},
        {"resourceLogs": [{"resource": [], "scopeLogs": []}]},
    ],
    ids=range(5),
)
def test_a_wrong_frame_is_refused_with_its_place(bot, body):
    answer = bot.post("/v1/logs", json=body)
    assert answer.status_code == 400 and "resourceLogs" in answer.json()["details"]


def test_without_a_store_a_sender_is_told_to_try_again(served, bot):
    served.without_store("findings", "vitals")
    for path, body in (("/v1/logs", logs(RECORD)), ("/v1/metrics", metrics(POINT))):
        assert bot.post(path, json=body).status_code == 503
