"""Where each server gets its application from: the one place to put ours around it.

One function a module, run when that module has been imported. Tried: uvicorn 0.39 and 0.54 (also as
gunicorn's worker, with a factory, with several workers), hypercorn 0.17 and 0.18, gunicorn 23 and 27 (sync,
gthread, gevent, ASGI), Werkzeug 3.1 (``flask run``), waitress 3.0, wsgiref (Django's ``runserver`` too),
aiohttp 3.13 and 3.14.

A program may attach from inside, while its server is busy importing it: uvicorn and gunicorn are therefore
looked after once more where they come by regularly. Other servers must be made after that.
"""

from __future__ import annotations

import functools
import sys

from homeostat_agent.capture.failures import Failures
from homeostat_agent.capture.looplag import LoopLag
from homeostat_agent.capture.patches import Patches
from homeostat_agent.capture.traffic import Traffic, current_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from homeostat_agent.capture.imports import Hook

_GUNICORN_WSGI = frozenset({"gunicorn.workers.sync", "gunicorn.workers.gthread", "gunicorn.workers.base_async"})


class Servers:
    """Knows how to put an application of ours around the host's, in every server that it knows."""

    def __init__(self, *, patches: Patches, traffic: Traffic, lag: LoopLag, failures: Failures) -> None:
        self._patches = patches
        self._traffic = traffic
        self._lag = lag
        self._failures = failures

    def hooks(self) -> dict[str, Hook]:
        """Return what to run after which module was imported."""
        return {
            "uvicorn.config": lambda module: self._around(module.Config, "load", "loaded_app", self._asgi),
            "uvicorn.server": self._uvicorn_server,
            "hypercorn.app_wrappers": self._hypercorn,
            "gunicorn.workers.base": self._gunicorn,
            "gunicorn.workers.gasgi": lambda module: self._around(module.ASGIWorker, "load_wsgi", "asgi", self._asgi),
            "werkzeug.serving": lambda module: self._around(module.BaseWSGIServer, "__init__", "app", self._wsgi),
            "waitress.server": lambda module: self._around(
                module.BaseWSGIServer, "__init__", "application", self._wsgi
            ),
            "wsgiref.simple_server": lambda module: self._around(
                module.WSGIServer, "set_app", "application", self._wsgi
            ),
            "aiohttp.web_protocol": self._aiohttp,
            "aiohttp.web_server": self._aiohttp_server,
            "django.core.handlers.base": self._django,
            "flask.app": self._flask,
        }

    def _asgi(self, app: Any) -> Any:
        from homeostat_agent.capture.asgi import AsgiApp  # only where there is a server: the import takes time

        self._traffic.serves = True
        if isinstance(app, AsgiApp):
            return app
        return AsgiApp(app, traffic=self._traffic, lag=self._lag, failures=self._failures)

    def _wsgi(self, app: Any) -> Any:
        from homeostat_agent.capture.wsgi import WsgiApp

        if app is None:
            return app
        self._traffic.serves = True
        if isinstance(app, WsgiApp):
            return app
        return WsgiApp(app, traffic=self._traffic, failures=self._failures)

    def _around(self, owner: Any, method: str, attribute: str, wrap: Callable[[Any], Any]) -> None:
        """After `method` has run, put ours around what it left in `attribute`."""

        def then(server: Any, _result: Any) -> None:
            setattr(server, attribute, wrap(getattr(server, attribute)))

        self._patches.after(owner, method, then)

    def _uvicorn_server(self, module: Any) -> None:
        def then(server: Any, _result: Any) -> None:
            if server.config.loaded:
                server.config.loaded_app = self._asgi(server.config.loaded_app)  # read for each new connection

        self._patches.after(module.Server, "on_tick", then)

    def _hypercorn(self, module: Any) -> None:
        self._around(module.ASGIWrapper, "__init__", "app", self._asgi)
        self._around(module.WSGIWrapper, "__init__", "app", self._wsgi)

    def _gunicorn(self, module: Any) -> None:
        def then(worker: Any, _result: Any) -> None:
            # A worker of another kind (uvicorn's, tornado's) keeps something else under this name.
            if any(kind.__module__ in _GUNICORN_WSGI for kind in type(worker).__mro__):
                worker.wsgi = self._wsgi(worker.wsgi)
            elif hasattr(worker, "asgi"):
                worker.asgi = self._asgi(worker.asgi)

        self._patches.after(module.Worker, "load_wsgi", then)
        self._patches.after(module.Worker, "notify", then)

    def _django(self, module: Any) -> None:
        def then(_handler: Any, match: Any) -> None:
            request = current_request()
            if request is not None and not request.finished and isinstance(match.route, str):
                request.label = ("/" + match.route)[:200]
                request.function = _django_view(match.func, request.method())

        self._patches.after(module.BaseHandler, "resolve_request", then)
        original = module.BaseHandler.process_exception_by_middleware

        @functools.wraps(original)
        def process(handler: Any, exception: Any, *args: Any, **kwargs: Any) -> Any:
            ours = current_request()
            if ours is not None and not ours.finished and isinstance(exception, Exception):
                ours.suspect = exception  # a middleware of the program's own may make an answer of it
            return original(handler, exception, *args, **kwargs)

        self._patches.replace(module.BaseHandler, "process_exception_by_middleware", process)

    def _flask(self, module: Any) -> None:
        def then(_app: Any, _answer: Any) -> None:
            request, error = current_request(), sys.exc_info()[1]
            if request is not None and not request.finished and isinstance(error, Exception):
                request.suspect = error  # a handler of the program's own made an answer of it

        self._patches.after(module.Flask, "handle_user_exception", then)

    def _aiohttp_server(self, module: Any) -> None:
        def then(_server: Any, _result: Any) -> None:
            self._traffic.serves = True

        self._patches.after(module.Server, "__init__", then)

    def _aiohttp(self, module: Any) -> None:
        """Take the method that handles a request and sends its response, whatever becomes of it."""
        original = module.RequestHandler._handle_request
        traffic, lag, failures = self._traffic, self._lag, self._failures

        @functools.wraps(original)
        async def handle(protocol: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            if not traffic.active:
                return await original(protocol, request, *args, **kwargs)
            try:
                ours = traffic.begin(request, _aiohttp_route)
                lag.watch()
            except Exception:
                failures.note("request")
                return await original(protocol, request, *args, **kwargs)
            try:
                answer = await original(protocol, request, *args, **kwargs)
            except BaseException as error:
                ours.disconnected = True  # it answers every failure of a handler itself: this is the connection's
                traffic.finish(ours, error, where="aiohttp")
                raise
            response = answer[0] if isinstance(answer, tuple) and answer else answer
            status = getattr(response, "status", 0)
            # What a handler raises as an answer is both.
            ours.answered(
                status if isinstance(status, int) else 0, response if isinstance(response, Exception) else None
            )
            traffic.finish(ours, None, where="aiohttp")
            return answer

        self._patches.replace(module.RequestHandler, "_handle_request", handle)


def _django_view(view: Any, method: str) -> Any:
    """Return the function of the program behind a view: the method of its class, or what a decorator wraps."""
    kind = getattr(view, "view_class", None)
    if kind is not None:
        return getattr(kind, method.lower(), None)
    while getattr(view, "__wrapped__", None) is not None:
        view = view.__wrapped__
    return view


def _aiohttp_route(request: Any, status: int) -> str:
    from homeostat_agent.capture.routes import UNMATCHED, masked

    resource = getattr(getattr(getattr(request, "match_info", None), "route", None), "resource", None)
    canonical = getattr(resource, "canonical", None)
    if isinstance(canonical, str):
        return canonical[:200]
    return UNMATCHED if status == 404 else masked(request.path)
