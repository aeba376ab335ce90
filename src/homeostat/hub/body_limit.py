"""Limits on request bodies, in bytes and in time, also for one that does not say its length beforehand."""

import asyncio

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from homeostat.core.limits import MAX_HTTP_BODY_BYTES, MAX_HTTP_BODY_S
from homeostat.hub.problems import problem

_MAX_DIGITS = 15


class BodyLimit:
    """Answers 413 to a body over `MAX_HTTP_BODY_BYTES`, 408 to one that takes longer than `body_s`.

    Nothing of such a body is used, and its connection is closed: what is left of it is not read.
    """

    def __init__(self, app: ASGIApp, *, body_s: float = MAX_HTTP_BODY_S) -> None:
        self._app = app
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and (len(announced) > _MAX_DIGITS or int(announced) > MAX_HTTP_BODY_BYTES):
            await _too_large()(scope, receive, send)
            return
        body = _Body(receive, due_s=asyncio.get_running_loop().time() + self._body_s)
        started = False

        async def tracked(message: Message) -> None:
            nonlocal started
            if body.refused is not None and not started:
                return
            started = True
            await send(message)

        try:
            await self._app(scope, body.receive, tracked)
        except ClientDisconnect:
            if body.refused is None:
                raise
        if body.refused is not None and not started:
            await body.refused(scope, receive, send)


class _Body:
    """The incoming side of one request. The application sees a client that went away where a limit was passed."""

    def __init__(self, receive: Receive, *, due_s: float) -> None:
        self._receive = receive
        self._due_s = due_s
        self._seen = 0
        self._whole = False
        self.refused: Response | None = None

    async def receive(self) -> Message:
        if self._whole:  # what follows is the wait for the client to go away, which has no limit
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._due_s):
                message = await self._receive()
        except TimeoutError:
            self.refused = _too_slow()
            return {"type": "http.disconnect"}
        self._seen += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._seen > MAX_HTTP_BODY_BYTES:
            self.refused = _too_large()
            return {"type": "http.disconnect"}
        return message


def _too_large() -> Response:
    return _closing(problem(413, "body-too-large", f"a request body has at most {MAX_HTTP_BODY_BYTES} bytes"))


def _too_slow() -> Response:
    return _closing(problem(408, "body-too-slow", "the body did not come to its end in time"))


def _closing(answer: Response) -> Response:
    answer.headers["Connection"] = "close"
    return answer
