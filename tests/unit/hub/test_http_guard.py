"""Callers that are slow, many, or send junk: over real sockets, because that is where it happens."""

import json
import socket
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest
import uvicorn

from homeostat.hub.body_limit import BodyLimit
from homeostat.hub.http_guard import GuardedProtocol

PATIENCE_S = 30.0  # matters only where the test fails


class Hasty(GuardedProtocol):
    head_s = 0.3


class Patient(GuardedProtocol):
    head_s = PATIENCE_S


async def echo(scope, receive, send):
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def port():
    with serving(limit_concurrency=20) as port:
        yield port


@contextmanager
def serving(http=Hasty, *, body_s=0.5, **options):
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        BodyLimit(echo, body_s=body_s),
        http=http,
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        h11_max_incomplete_event_size=4096,
        timeout_graceful_shutdown=1,
        **options,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until(lambda: server.started)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(PATIENCE_S)
    listener.close()
    assert not thread.is_alive()


def until(condition):
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "it never came about"
        time.sleep(0.002)


def dial(port):
    return closing(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S))


def everything(connection):
    """Read until the other end closes; `TimeoutError` when it never does."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def drip(connection, piece):
    """Send a piece again and again until nobody takes it."""
    end_s = time.monotonic() + PATIENCE_S
    connection.settimeout(0.02)
    while time.monotonic() < end_s:
        try:
            connection.sendall(piece)
            if connection.recv(65536) == b"":
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def asked(port, head, body=b""):
    with dial(port) as connection:
        connection.sendall(head + body)
        return everything(connection)


GOOD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def test_a_request_in_one_piece_or_in_many_is_answered(port):
    assert asked(port, GOOD).endswith(b"\r\n\r\nok")
    with dial(port) as connection:
        for place in range(0, len(GOOD), 7):
            connection.sendall(GOOD[place : place + 7])
        assert everything(connection).endswith(b"\r\n\r\nok")


def test_a_connection_that_says_nothing_is_closed(port):
    with dial(port) as connection:
        assert everything(connection) == b""


def test_a_head_that_comes_in_drips_is_not_waited_for(port):
    with dial(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        assert drip(connection, b"X-A: b\r\n")


def test_nor_is_the_second_one_of_a_connection(port):
    with dial(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT")
        assert b"200 OK" in everything(connection)


def test_a_body_that_comes_in_drips_is_a_408_and_the_end_of_the_connection(port):
    with dial(port) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nab")
        answer = everything(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 408 " in head and b"connection: close" in head.lower()
    assert json.loads(body)["title"] == "body-too-slow"


def test_a_body_that_is_announced_too_large_is_a_413_before_any_of_it(port):
    answer = asked(port, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
    assert b" 413 " in answer and b"body-too-large" in answer


def test_a_chunked_body_that_grows_too_large_is_a_413_and_is_not_kept():
    with serving(body_s=PATIENCE_S) as port, dial(port) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"40000\r\n" + b"x" * 0x40000 + b"\r\n"
        try:
            for _ in range(80):
                connection.sendall(chunk)
        except OSError:
            pass  # it was closed in the middle
        answer = everything(connection)
        assert answer == b"" or b" 413 " in answer


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 5_000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\x00: y\r\n\r\n",
        b"\x00" * 5000,
    ],
    ids=range(12),
)
def test_junk_is_a_400_or_the_end_and_the_next_caller_is_answered(port, junk):
    answer = asked(port, junk)
    assert answer == b"" or b" 400 " in answer.split(b"\r\n")[0]
    assert asked(port, GOOD).endswith(b"\r\n\r\nok")


def test_junk_behind_a_good_request_does_not_spoil_its_answer(port):
    answer = asked(port, GOOD.replace(b"Connection: close\r\n", b""), b"JUNK\r\n\r\n" * 50)
    assert answer.startswith(b"HTTP/1.1 200 OK") and b"ok" in answer
    assert b" 500 " not in answer


def test_pipelined_requests_are_answered_in_their_order(port):
    parts = [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n%d" % n for n in range(9)]
    answer = asked(port, b"".join(parts[:-1]), parts[-1].replace(b"Host: x", b"Host: x\r\nConnection: close"))
    assert answer.count(b"HTTP/1.1 200 OK") == 9
    assert [part[:1] for part in answer.split(b"\r\n\r\n")[1:]] == [b"%d" % n for n in range(9)]


@contextmanager
def many_idle(port, count, *, piece=b""):
    with ExitStack() as idle:
        held = [idle.enter_context(dial(port)) for _ in range(count)]
        for connection in held:
            with suppress(OSError):
                connection.sendall(piece)
        yield held


@pytest.mark.parametrize("piece", [b"", b"GET / HT"], ids=["silent", "begun"])
def test_those_who_hold_all_places_and_ask_nothing_keep_nobody_out(piece):
    with serving(Patient, limit_concurrency=5) as port, many_idle(port, 30, piece=piece) as held:
        for _ in range(10):
            assert asked(port, GOOD).endswith(b"\r\n\r\nok")
        assert everything(held[0]) == b"", "who has waited longest makes room"


def test_a_request_that_is_under_way_makes_no_room_for_others():
    with serving(Patient, limit_concurrency=5, body_s=PATIENCE_S) as port, dial(port) as busy:
        busy.sendall(GOOD[:-1])
        with many_idle(port, 30):
            assert asked(port, GOOD).endswith(b"\r\n\r\nok")
            busy.sendall(GOOD[-1:])
            assert everything(busy).endswith(b"\r\n\r\nok")


def test_when_all_are_at_work_the_next_caller_is_told_to_come_again():
    with serving(Patient, limit_concurrency=3, body_s=PATIENCE_S) as port, many_idle(port, 2, piece=GOOD[:-1]) as busy:
        until(lambda: b" 503 " in asked(port, GOOD))
        for connection in busy:
            connection.sendall(GOOD[-1:])
            assert everything(connection).endswith(b"\r\n\r\nok")
        until(lambda: asked(port, GOOD).endswith(b"\r\n\r\nok"))


@pytest.mark.parametrize("last", [b"", GOOD], ids=["more to come", "closed behind it"])
def test_who_takes_nothing_of_the_answers_is_cut_off(last):
    """Many requests in a row, none of whose answers is read, fill every buffer on the way."""
    request = GOOD.replace(b"Connection: close\r\n", b"")
    gone = threading.Event()

    class Told(Hasty):
        def connection_lost(self, exc):
            gone.set()
            super().connection_lost(exc)

    with serving(Told) as port, dial(port) as connection:
        connection.settimeout(0.2)
        with suppress(OSError):
            while not gone.is_set():
                connection.sendall(request * 1000)
        with suppress(OSError):
            connection.sendall(last)
        assert gone.wait(PATIENCE_S)
