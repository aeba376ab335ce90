"""The application that stands around a WSGI application."""

import io
import logging
import threading
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.util import FileWrapper

import pytest
from homeostat_agent.capture.wsgi import WsgiApp


@pytest.fixture
def around(captured) -> Callable[[Any], WsgiApp]:
    capture = captured.capture
    return lambda app: WsgiApp(app, traffic=capture._traffic, failures=capture.failures)


def started(calls: list[Any]) -> Callable[..., Any]:
    def start_response(*arguments: Any) -> Any:
        calls.append(arguments)
        return "write"

    return start_response


def taken(captured: Any) -> dict[tuple[str, str], int]:
    return {key: series.requests for key, series in captured.capture.vitals()["requests"].items()}


def test_a_finished_sequence_is_handed_on_itself(captured, around):
    """Servers look at its length, and send a Content-Length because of it."""
    answer = [b"x"]

    def app(_environ: Any, start_response: Any) -> Any:
        assert start_response("200 OK", [("A", "b")]) == "write"
        return answer

    calls: list[Any] = []
    assert around(app)({"PATH_INFO": "/x"}, started(calls)) is answer
    assert calls == [("200 OK", [("A", "b")])]
    assert taken(captured) == {("/x", ""): 1}


def test_the_servers_file_wrapper_is_handed_on_itself(captured, around):
    wrapper = FileWrapper(io.BytesIO(b"x"))

    def app(_environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return wrapper

    assert around(app)({"PATH_INFO": "/x", "wsgi.file_wrapper": FileWrapper}, started([])) is wrapper
    assert taken(captured) == {("/x", ""): 1}


@pytest.mark.parametrize("odd", [None, "text", 7])
def test_an_odd_file_wrapper_does_no_harm(captured, around, odd):
    def app(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"x"

    answer = around(app)({"PATH_INFO": "/x", "wsgi.file_wrapper": odd}, started([]))
    assert list(answer) == [b"x"]
    answer.close()
    assert taken(captured) == {("/x", ""): 1}


def test_a_generator_is_over_when_it_is_closed_and_closed_once(captured, around):
    closed: list[str] = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"a", b"b"])

        def close(self) -> None:
            closed.append("closed")

    def app(_environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Body()

    answer = around(app)({"PATH_INFO": "/x"}, started([]))
    assert list(answer) == [b"a", b"b"]
    assert taken(captured) == {}
    answer.close()
    assert closed == ["closed"]
    assert taken(captured) == {("/x", ""): 1}
    answer.close()
    assert taken(captured) == {}, "counted once"


def test_a_client_that_leaves_in_the_middle_is_no_error(captured, around):
    def app(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"a"
        yield b"b"

    answer = around(app)({"PATH_INFO": "/x"}, started([]))
    assert next(answer) == b"a"
    answer.close()
    assert taken(captured) == {("/x", ""): 1}


def test_an_exception_passes_unchanged_from_the_call_and_from_the_body(captured, around):
    def at_once(_environ: Any, _start_response: Any) -> Any:
        raise LookupError("at once")

    def later(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"a"
        raise KeyError("later")

    with pytest.raises(LookupError, match="at once"):
        around(at_once)({"PATH_INFO": "/x"}, started([]))
    answer = around(later)({"PATH_INFO": "/x"}, started([]))
    with pytest.raises(KeyError, match="later"):
        list(answer)
    answer.close()
    assert taken(captured) == {("/x", "LookupError"): 1, ("/x", "KeyError"): 1}
    assert [(item.logger, item.route) for item in captured.occurrences()] == [("wsgi", "/x")] * 2


def test_a_logged_exception_gives_a_500_its_type(captured, around):
    log = logging.Logger("shop")
    log.addHandler(logging.NullHandler())

    def app(_environ: Any, start_response: Any) -> Any:
        try:
            raise LookupError("price")
        except LookupError:
            log.exception("handled by a framework")
        start_response("500 Internal Server Error", [])
        return [b"sorry"]

    around(app)({"PATH_INFO": "/x"}, started([]))
    assert taken(captured) == {("/x", "LookupError"): 1}


def test_a_late_error_response_is_passed_on_with_its_exception(captured, around):
    calls: list[Any] = []

    def app(_environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        start_response("503 Busy", [], ("type", "value", "traceback"))
        return []

    around(app)({"PATH_INFO": "/x"}, started(calls))
    assert calls == [("200 OK", []), ("503 Busy", [], ("type", "value", "traceback"))]
    assert taken(captured) == {("/x", "503"): 1}


@pytest.mark.parametrize("status", [None, "", "teapot", b"200 OK", 200])
def test_a_malformed_status_is_the_servers_to_refuse(captured, around, status):
    calls: list[Any] = []

    def app(_environ: Any, start_response: Any) -> Any:
        start_response(status, [])
        return []

    around(app)({"PATH_INFO": "/x"}, started(calls))
    assert calls == [(status, [])]
    assert taken(captured) == {("/x", ""): 1}


def test_a_real_server_still_answers_the_same_bytes_and_headers(captured):
    """With the hook that was set when the module was imported, over a real connection, in threads."""

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_arguments: Any) -> None: ...

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode()]

    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/orders/7?q=1", timeout=20) as answer:
                assert answer.read() == b"/orders/7"
                assert answer.headers["Content-Length"] == "9"
        finally:
            server.shutdown()
            thread.join()
    assert taken(captured) == {("/orders/{id}", ""): 1}
