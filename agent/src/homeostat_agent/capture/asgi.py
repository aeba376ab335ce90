"""Stands between an ASGI server and its application, and counts the requests that pass."""

from __future__ import annotations

from time import perf_counter

from homeostat_agent.capture.failures import Failures
from homeostat_agent.capture.looplag import LoopLag
from homeostat_agent.capture.routes import asgi_route
from homeostat_agent.capture.traffic import Traffic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class AsgiApp:
    """An ASGI application (version 3) that is its inner one in every other respect.

    Websockets and lifespans pass through uncounted. Latency ends with the last piece of the response, not
    with the background work after it. The current request is left in its context when it ends: what the
    server logs about it afterwards is in that context too.
    """

    def __init__(self, app: Any, *, traffic: Traffic, lag: LoopLag, failures: Failures) -> None:
        self._app = app
        self._traffic = traffic
        self._lag = lag
        self._failures = failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        traffic = self._traffic
        if scope["type"] != "http" or not traffic.active:
            await self._app(scope, receive, send)
            return
        try:
            request = traffic.begin(scope, asgi_route)
            self._lag.watch()
        except Exception:
            self._failures.note("request")
            await self._app(scope, receive, send)
            return

        async def observed_send(message: Any) -> None:
            last = False
            try:
                kind = message["type"]
                if kind == "http.response.start":
                    request.answered(message["status"])
                elif kind == "http.response.body":
                    last = not message.get("more_body")
            except Exception:  # a message that no server will like: it is the server's to say so
                self._failures.note("request")
            try:
                await send(message)
            except OSError:  # the servers' way to say that the client is gone
                request.disconnected = True
                raise
            if last:
                request.ended = perf_counter()

        try:
            await self._app(scope, receive, observed_send)
        except BaseException as error:
            traffic.finish(request, error, where="asgi")
            raise
        traffic.finish(request, None, where="asgi")
