"""What answers where Prometheus should be may be anything: whatever it says, it is an answer or none."""

import json
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from agents_harness import wait_for

from homeostat.adapters.prometheus import NoPrometheus, Prometheus, parse_answer
from homeostat.model.settings import PrometheusQuery
from homeostat.rollout.detectors.queries import Unanswered

QUERY = PrometheusQuery(name="q", query="q", above=10)
_PATIENCE_S = 30


def parsed(body, status=200):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_answer(QUERY, status, raw, start_s=1000.0, end_s=1020.0, step_s=5.0)


def matrix(*series):
    result = [{"metric": {}, "values": values} for values in series]
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}


def test_values_stand_at_their_times_and_what_is_missing_is_none():
    found = parsed(matrix([[1000, "1"], [1010, "3"], [1015, "NaN"]], [[1010, "4.5"], [1020, "+Inf"]]))
    assert [item.value for item in found] == [1.0, None, 4.5, None, float("inf")]
    assert found[0].at == datetime.fromtimestamp(1000, tz=UTC)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"<html>welcome</html>",
        [],
        None,
        7,
        {},
        {"status": "success"},
        {"status": "success", "data": None},
        {"status": "success", "data": {"resultType": "matrix"}},
        {"status": "success", "data": {"resultType": "matrix", "result": None}},
        {"status": "success", "data": {"resultType": "vector", "result": []}},
        {"status": "success", "data": {"resultType": "matrix", "result": [{"values": [[1, 2]]}]}},
        {"status": "success", "data": {"resultType": "matrix", "result": [{"values": [[1, "x"]]}]}},
        {"status": "success", "data": {"resultType": "matrix", "result": [{"values": [["x", "1"]]}]}},
        {"status": "success", "data": {"resultType": "matrix", "result": [{"values": [[1e999, "1"]]}]}},
        {"status": "success", "data": {"resultType": "matrix", "result": [{"values": [7]}]}},
        {"status": "error", "error": "parse error"},
        matrix(*[[[1000, "1"]]] * 101),
    ],
)
def test_what_is_not_as_documented_is_no_answer(body):
    assert isinstance(parsed(body), Unanswered)


@pytest.mark.parametrize("status", [301, 400, 422, 500, 503])
def test_only_200_is_an_answer(status):
    assert isinstance(parsed(matrix([[1000, "99"]]), status), Unanswered)


def test_a_refusal_says_why():
    assert "parse error" in parsed({"status": "error", "error": "parse error at char 3"}, 400).reason


class _Odd(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append(self.path)
        self.server.behave(self)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), _Odd)
    made.daemon_threads = True
    made.seen, made.end = [], threading.Event()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield made
    made.end.set()
    made.shutdown()
    made.server_close()


def ask(url, *, timeout_s=1.0):
    measures = Prometheus(url, timeout_s=timeout_s, fresh_s=600.0)
    now = datetime.now(UTC)

    def said():
        found = measures.answer(QUERY, since=now - timedelta(seconds=20), until=now)
        return None if isinstance(found, Unanswered) and "not asked yet" in found.reason else found

    try:
        return wait_for(said, what="a word", timeout_s=_PATIENCE_S)
    finally:
        measures.close()


def _url(server):
    return f"http://127.0.0.1:{server.server_address[1]}/"


def test_a_redirect_is_not_followed(server):
    def redirect(request):
        request.send_response(302)
        request.send_header("Location", "/elsewhere")
        request.end_headers()

    server.behave = redirect
    assert isinstance(ask(_url(server)), Unanswered)
    assert [path.partition("?")[0] for path in server.seen] == ["/api/v1/query_range"]


def test_an_answer_without_end_is_cut_off(server):
    def flood(request):
        request.send_response(200)
        request.end_headers()
        try:
            while not server.end.is_set():
                request.wfile.write(b" " * 65536)
        except OSError:
            pass

    server.behave = flood
    assert "more than 4 MiB" in ask(_url(server), timeout_s=20.0).reason


def test_an_answer_that_drips_is_not_waited_for(server):
    """Each drop comes in time, and all of them would take for ever."""

    def drip(request):
        request.send_response(200)
        request.end_headers()
        try:
            while not server.end.wait(0.05):
                request.wfile.write(b" ")
        except OSError:
            pass

    server.behave = drip
    assert "took more than 0.5 s" in ask(_url(server), timeout_s=0.5).reason


def test_a_server_that_says_nothing_holds_nobody_up(server):
    server.behave = lambda request: server.end.wait(_PATIENCE_S)
    measures = Prometheus(_url(server), timeout_s=0.5)
    now = datetime.now(UTC)
    begun = time.monotonic()
    for _ in range(50):
        assert isinstance(measures.answer(QUERY, since=now, until=now), Unanswered)
    measures.close()
    assert len(server.seen) == 1, "one question at a time"
    assert time.monotonic() - begun < _PATIENCE_S


def test_what_was_fetched_since_one_time_answers_nothing_of_a_longer_one_and_is_forgotten_when_nobody_asks(server):
    """Two changes are watched with the same query: the later one's answer lacks what was before the earlier one."""

    def answer(request):
        body = json.dumps(matrix()).encode()
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    server.behave = answer
    clock_s = [0.0]
    measures = Prometheus(_url(server), now_s=lambda: clock_s[0])
    now = datetime.now(UTC)
    late, early = now - timedelta(minutes=2), now - timedelta(minutes=30)

    def answered(since):
        found = measures.answer(QUERY, since=since, until=now)
        return None if isinstance(found, Unanswered) else found

    def until_answered(since):
        return wait_for(lambda: answered(since), what="an answer", timeout_s=_PATIENCE_S)

    assert until_answered(late)[0].at == late
    assert answered(early) is None, "the answer to another question"
    assert until_answered(early)[0].at == early
    for _ in range(2):
        clock_s[0] += 40.0
        answered(early)
    assert "not asked yet" in measures.answer(QUERY, since=late, until=now).reason
    measures.close()


def test_where_nothing_listens_it_cannot_be_reached():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "cannot be reached" in ask(f"http://127.0.0.1:{port}").reason


def test_closed_it_asks_nothing_any_more(server):
    measures = Prometheus(_url(server))
    measures.close()
    now = datetime.now(UTC)
    assert isinstance(measures.answer(QUERY, since=now, until=now), Unanswered)
    assert server.seen == []


def test_without_an_address_nothing_is_asked():
    now = datetime.now(UTC)
    assert "detectors.prometheus_url" in NoPrometheus().answer(QUERY, since=now, until=now).reason
