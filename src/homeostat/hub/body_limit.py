"""A limit on request bodies, also for one that does not say its length beforehand."""

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from homeostat.core.limits import MAX_HTTP_BODY_BYTES
from homeostat.hub.problems import problem

_MAX_DIGITS = 15


class BodyLimit:
    """Answers 413 to a body over `MAX_HTTP_BODY_BYTES`; nothing of such a body is used."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and (len(announced) > _MAX_DIGITS or int(announced) > MAX_HTTP_BODY_BYTES):
            await _refuse(scope, receive, send)
            return
        seen = 0
        started = too_large = False

        async def counted() -> Message:
            nonlocal seen, too_large
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MAX_HTTP_BODY_BYTES:
                # The application sees a client that went away.
                too_large = True
                return {"type": "http.disconnect"}
            return message

        async def tracked(message: Message) -> None:
            nonlocal started
            if too_large and not started:
                return
            started = True
            await send(message)

        try:
            await self._app(scope, counted, tracked)
        except ClientDisconnect:
            if not too_large:
                raise
        if too_large and not started:
            await _refuse(scope, receive, send)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    refused = problem(413, "body-too-large", f"a request body has at most {MAX_HTTP_BODY_BYTES} bytes")
    await refused(scope, receive, send)
