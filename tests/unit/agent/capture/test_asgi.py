"""The application that stands around an ASGI application."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from homeostat_agent.capture.asgi import AsgiApp

Ask = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture
def around(captured) -> Callable[[Any], AsgiApp]:
    capture = captured.capture
    return lambda app: AsgiApp(app, traffic=capture._traffic, lag=capture._lag, failures=capture.failures)


async def call(
    app: Any, *, scope: dict[str, Any] | None = None, refuse: type[BaseException] | None = None
) -> list[Any]:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if refuse is not None and message["type"] == "http.response.body":
            raise refuse("gone")
        sent.append(message)

    await app(scope or {"type": "http", "path": "/x", "method": "GET"}, receive, send)
    return sent


def start(status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": []}


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def taken(captured: Any) -> dict[tuple[str, str], int]:
    return {key: series.requests for key, series in captured.capture.vitals()["requests"].items()}


def test_scope_receive_messages_and_return_reach_the_application_as_they_are(captured, around):
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend([scope, await receive()])
        await send(start())
        await send(body(b"a", more=True))
        await send(body(b"b"))

    scope = {"type": "http", "path": "/x"}
    sent = asyncio.run(call(around(app), scope=scope))
    assert seen[0] is scope
    assert scope == {"type": "http", "path": "/x"}, "nothing is left in the scope"
    assert sent == [start(), body(b"a", more=True), body(b"b")]


def test_an_exception_passes_unchanged_and_is_one_error_with_its_route(captured, around):
    error = LookupError("x")

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise error

    with pytest.raises(LookupError) as caught:
        asyncio.run(call(around(app)))
    assert caught.value is error
    assert taken(captured) == {("/x", "LookupError"): 1}
    (item,) = captured.occurrences()
    assert (item.logger, item.route, item.exception_type) == ("asgi", "/x", "LookupError")


def test_a_cancelled_request_is_cancelled_and_no_error(captured, around):
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.ensure_future(call(around(app)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert taken(captured) == {("/x", ""): 1}
    assert captured.occurrences() == []


@pytest.mark.parametrize("kind", [OSError, BrokenPipeError])
def test_a_client_that_is_gone_while_sending_is_no_error(captured, around, kind):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"x"))

    with pytest.raises(kind):
        asyncio.run(call(around(app), refuse=kind))
    assert taken(captured) == {("/x", ""): 1}
    assert captured.occurrences() == []


def test_latency_ends_with_the_response_and_not_with_the_work_after_it(captured, around):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"x", more=True))
        await asyncio.sleep(0.05)
        await send(body(b""))
        answered_s.append(time.perf_counter())
        await asyncio.sleep(0.1)

    answered_s: list[float] = []
    began_s = time.perf_counter()
    asyncio.run(call(around(app)))
    series = captured.capture.vitals()["requests"]["/x", ""]
    assert 0.04 <= series.sum_s <= answered_s[0] - began_s


@pytest.mark.parametrize("kind", ["websocket", "lifespan", "something-new"])
def test_other_scopes_pass_through_uncounted(captured, around, kind):
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["type"], receive, send))
        if kind == "websocket":
            raise ValueError("the host's")

    async def receive() -> None: ...

    async def send(_message: Any) -> None: ...

    async def main() -> None:
        await around(app)({"type": kind}, receive, send)

    if kind == "websocket":
        with pytest.raises(ValueError, match="host's"):
            asyncio.run(main())
    else:
        asyncio.run(main())
    assert seen == [(kind, receive, send)]
    assert taken(captured) == {}


@pytest.mark.parametrize("message", [None, {}, {"type": "http.response.start"}, {"type": 7}, "text"])
def test_a_malformed_message_is_the_servers_to_refuse(captured, around, message):
    sent: list[Any] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(message)

    async def send(given: Any) -> None:
        sent.append(given)

    async def main() -> None:
        await around(app)({"type": "http", "path": "/x"}, None, send)

    asyncio.run(main())
    assert sent == [message]
    assert taken(captured) == {("/x", ""): 1}


def test_a_scope_that_makes_the_route_unreadable_harms_no_request(captured, around):
    class Hostile:
        @property
        def path_format(self) -> str:
            raise RuntimeError("no")

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        scope["route"] = Hostile()
        await send(start())
        await send(body())

    assert len(asyncio.run(call(around(app)))) == 2
    assert taken(captured) == {}
    assert captured.capture.failures.as_dict() == {"request": 1}


def test_after_uninstall_the_application_is_transparent(captured, around):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(start())
        await send(body())

    ours = around(app)
    captured.capture.uninstall()
    assert len(asyncio.run(call(ours))) == 2
    assert taken(captured) == {}


def test_attributes_of_the_application_are_reached_through_it(around):
    class App:
        state = "theirs"

        async def __call__(self, _scope: Any, _receive: Any, _send: Any) -> None: ...

    assert around(App()).state == "theirs"


def test_concurrent_requests_keep_their_own_outcome(captured, around):
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        number = int(scope["path"][2:])
        await send(start(500 if number % 2 else 200))
        await asyncio.sleep(0.001 * (number % 5))
        await send(body())

    async def main() -> None:
        ours = around(app)
        await asyncio.gather(*(call(ours, scope={"type": "http", "path": f"/r{n}"}) for n in range(60)))

    asyncio.run(main())
    counts = taken(captured)
    assert counts == {(f"/r{n}", "500" if n % 2 else ""): 1 for n in range(60)}


def test_a_blocked_loop_shows_as_lag_and_an_idle_one_does_not(captured, around, until):
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if scope["path"] == "/block":
            time.sleep(0.3)  # noqa: ASYNC251 (the defect)
        await send(start())
        await send(body())

    async def main() -> tuple[Any, Any]:
        ours = around(app)
        await call(ours)
        for _ in range(20):  # a busy machine may hold up one interval or another
            await asyncio.sleep(0.2)
            quiet = captured.capture.vitals()["loop_lag_ms_max"]
            if quiet is None or quiet < 150:
                break
        await call(ours, scope={"type": "http", "path": "/block"})
        await asyncio.sleep(0.1)
        return quiet, captured.capture.vitals()["loop_lag_ms_max"]

    quiet, blocked = asyncio.run(main())
    assert quiet is not None
    assert quiet < 150
    assert blocked >= 200
    assert captured.capture.vitals()["loop_lag_ms_max"] is None, "the loop is gone"


def test_a_loop_that_is_blocked_right_now_shows_while_it_lasts(captured, around):
    seen: list[Any] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(start())
        await send(body())

    async def main() -> None:
        await call(around(app))
        await asyncio.sleep(0.06)
        time.sleep(0.3)  # noqa: ASYNC251 (the defect)
        seen.append(captured.capture.vitals()["loop_lag_ms_max"])

    asyncio.run(main())
    assert seen[0] >= 200


def test_the_lag_timer_holds_neither_the_loop_nor_the_context_of_a_request(captured, around):
    import contextvars
    import gc
    import weakref

    class Session: ...

    session: contextvars.ContextVar[Any] = contextvars.ContextVar("session")
    kept: list[Any] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(start())
        await send(body())

    async def first_request() -> None:
        theirs = Session()
        session.set(theirs)
        kept.append(weakref.ref(theirs))
        await call(around(app))

    async def main() -> None:
        kept.append(weakref.ref(asyncio.get_running_loop()))
        await asyncio.create_task(first_request())
        await asyncio.sleep(0.12)
        gc.collect()
        assert kept[1]() is None

    asyncio.run(main())  # which ends, although a timer is always due
    gc.collect()
    assert kept[0]() is None
