"""The HTTP application: gatekeeping for every request, then the routes.

In order: the Host must be ours, an Origin too; a body has a limit; everything but the health probes
needs a bearer token. Blocking work runs in Starlette's thread pool: the routes are plain functions.
"""

import logging
from collections.abc import Awaitable, Callable

from anyio import to_thread
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from homeostat import __version__
from homeostat.core.error_table import family_of
from homeostat.core.errors import HomeostatError
from homeostat.core.limits import MAX_HTTP_BODY_BYTES
from homeostat.hub.auth import Unauthenticated, authenticate, is_our_host, is_our_origin
from homeostat.hub.context import HubContext
from homeostat.hub.contract import error_text
from homeostat.hub.routes import findings, proposals, selfimprove, status, telemetry

_log = logging.getLogger(__name__)

_OPEN_PATHS = frozenset({"/health/live", "/health/ready"})

Next = Callable[[Request], Awaitable[Response]]


def create_app(context: HubContext) -> FastAPI:
    """Build the application of one hub."""
    app = FastAPI(
        title="Homeostat hub",
        version=__version__,
        description="Changes to a running Python system: proposed, proved, agreed, live, taken back, on record.",
        docs_url=None,
        redoc_url=None,
    )
    app.state.context = context
    for module in (selfimprove, proposals, findings, telemetry, status):
        app.include_router(module.router)
    app.add_exception_handler(HomeostatError, _known_error)
    app.add_exception_handler(RequestValidationError, _bad_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _crash)
    app.middleware("http")(_gate)
    app.add_middleware(_BodyLimit)
    return app


async def _gate(request: Request, call_next: Next) -> Response:
    host = request.headers.get("host")
    if not is_our_host(host):
        return _problem(403, "foreign-host", f"this hub is not {host!r}; call it 127.0.0.1 or localhost")
    if not is_our_origin(request.headers.get("origin"), host):
        return _problem(403, "foreign-origin", "pages of other origins may not talk to this hub")
    if request.url.path not in _OPEN_PATHS:
        context: HubContext = request.app.state.context
        header = request.headers.get("authorization")
        actor = await to_thread.run_sync(authenticate, header, context.deps.actors)
        if isinstance(actor, Unauthenticated):
            refused = _problem(401, "unauthenticated", actor.reason)
            refused.headers["WWW-Authenticate"] = 'Bearer realm="homeostat"'
            return refused
        request.state.actor = actor
    response = await call_next(request)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


class _BodyLimit:
    """Refuses a body over the limit, also one that does not say its length beforehand."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = 0
        too_large = False
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > MAX_HTTP_BODY_BYTES:
            await _too_large()(scope, receive, send)
            return

        async def counted() -> Message:
            nonlocal seen, too_large
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MAX_HTTP_BODY_BYTES:
                # The application sees a client that went away; nothing of the body is used.
                too_large = True
                return {"type": "http.disconnect"}
            return message

        started = False

        async def tracked(message: Message) -> None:
            nonlocal started
            if too_large and not started:
                return
            started = True
            await send(message)

        await self._app(scope, counted, tracked)
        if too_large and not started:
            await _too_large()(scope, receive, send)


def _too_large() -> JSONResponse:
    return _problem(413, "body-too-large", f"a request body has at most {MAX_HTTP_BODY_BYTES} bytes")


def _problem(status: int, code: str, details: str, *, hint: str | None = None) -> JSONResponse:
    """Answer with problem details that also carry the contract's three error fields."""
    body = {
        "ok": False,
        "error": error_text(code) if status == 400 else code,
        "details": details,
        "type": f"urn:homeostat:error:{code}",
        "title": code,
        "status": status,
        "detail": details,
    }
    if hint:
        body["hint"] = hint
    return JSONResponse(body, status_code=status, media_type="application/problem+json" if status != 400 else None)


async def _known_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HomeostatError)
    family = family_of(error)
    context: HubContext = request.app.state.context
    context.metrics.errors.labels(family.label).inc()
    return _problem(family.http_status, error.code, error.message, hint=error.hint)


async def _bad_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    places = []
    for item in error.errors()[:5]:
        place = ".".join(str(part) for part in item["loc"] if part != "body")
        places.append(f"{place or 'body'}: {item['msg']}")
    return JSONResponse({"ok": False, "error": "Invalid request", "details": "; ".join(places)}, status_code=400)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _problem(error.status_code, "http-error", str(error.detail))


async def _crash(request: Request, error: Exception) -> Response:
    _log.error("unexpected %s in %s", type(error).__name__, request.url.path, exc_info=error)
    context: HubContext = request.app.state.context
    context.metrics.errors.labels("bug").inc()
    return _problem(500, "bug", "the hub failed to answer; its log has the details")
