"""The HTTP application: gatekeeping for every request, then the routes.

In order: a body has a limit; the Host must be ours, an Origin too; everything but the health probes
needs a bearer token, this description of the interface included. Blocking work runs in Starlette's
thread pool: the routes are plain functions.
"""

from functools import lru_cache
from typing import Any

from anyio import to_thread
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from homeostat import __version__
from homeostat.core.errors import HomeostatError
from homeostat.hub.auth import Unauthenticated, authenticate, is_our_host, is_our_origin
from homeostat.hub.body_limit import BodyLimit
from homeostat.hub.context import HubContext
from homeostat.hub.openapi import describe
from homeostat.hub.problems import NotTaken, bad_request, crash, gone, http_error, known_error, not_taken, problem
from homeostat.hub.routes import findings, policies, proposals, restart, selfimprove, status, telemetry

OPEN_PATHS = frozenset({"/health/live", "/health/ready"})
"""What is answered without a token: probes cannot carry one, and they say no more than well or not."""


def create_app(context: HubContext) -> FastAPI:
    """Build the application of one hub."""
    app = FastAPI(
        title="Homeostat hub",
        version=__version__,
        description="Changes to a running Python system: proposed, proved, agreed, live, taken back, on record.",
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.context = context
    for module in (selfimprove, proposals, policies, findings, restart, telemetry, status):
        app.include_router(module.router)
    for kind, handler in (
        (HomeostatError, known_error),
        (RequestValidationError, bad_request),
        (HTTPException, http_error),
        (ClientDisconnect, gone),
        (NotTaken, not_taken),
        (Exception, crash),
    ):
        app.add_exception_handler(kind, handler)
    app.add_middleware(_Gate)
    app.add_middleware(BodyLimit)

    @lru_cache(maxsize=1)
    def openapi() -> dict[str, Any]:
        return describe(app, open_paths=OPEN_PATHS)

    app.openapi = openapi  # type: ignore[method-assign]
    return app


class _Gate:
    """Lets in whoever may call, and says of every answer that it is for nobody else and is what it says it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Cache-Control"] = "no-store"
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        await (await _refusal(Request(scope)) or self._app)(scope, receive, marked)


async def _refusal(request: Request) -> Response | None:
    host = request.headers.get("host")
    if not is_our_host(host):
        return problem(403, "foreign-host", "this hub is 127.0.0.1 or localhost, and was called by another name")
    if not all(is_our_origin(origin, host) for origin in request.headers.getlist("origin")):
        return problem(403, "foreign-origin", "pages of other origins may not talk to this hub")
    # INVARIANT: the path that is judged is the one that is routed, never one made from a header.
    path = request.scope["path"]
    if path in OPEN_PATHS:
        return None
    context: HubContext = request.app.state.context
    header = request.headers.get("authorization")
    try:
        actor = await to_thread.run_sync(authenticate, header, context.deps.actors, context.deps.ledger)
    except HomeostatError as error:
        # Who calls cannot be known now. Two answers are due all the same: that nothing is known.
        without_store = status.WITHOUT_STORE.get(path) if request.method == "GET" else None
        if without_store is None:
            return known_error(request, error)
        return JSONResponse(without_store(context).model_dump())
    if isinstance(actor, Unauthenticated):
        answer = problem(401, "unauthenticated", actor.reason)
        answer.headers["WWW-Authenticate"] = 'Bearer realm="homeostat"'
        return answer
    request.state.actor = actor
    return None
