"""Stands between a WSGI server and its application, and counts the requests that pass."""

from __future__ import annotations

from homeostat_agent.capture.failures import Failures
from homeostat_agent.capture.routes import wsgi_route
from homeostat_agent.capture.traffic import Request, Traffic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator


class WsgiApp:
    """A WSGI application that is its inner one in every other respect.

    A body that is a finished sequence, or the server's own file wrapper, is handed on as it is (servers
    look at its type): such a request ends when the application returns. Any other body ends it when it is
    closed.
    """

    def __init__(self, app: Any, *, traffic: Traffic, failures: Failures) -> None:
        self._app = app
        self._traffic = traffic
        self._failures = failures

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    def __call__(self, environ: Any, start_response: Any) -> Any:
        traffic = self._traffic
        if not traffic.active:
            return self._app(environ, start_response)
        try:
            request = traffic.begin(environ, wsgi_route)
        except Exception:
            self._failures.note("request")
            return self._app(environ, start_response)

        def observed_start(status: Any, headers: Any, exc_info: Any = None) -> Any:
            try:
                request.answered(int(status[:3]), exc_info[1] if exc_info else None)
                # Flask forgets its request when the application returns, so the route is read now.
                if not request.label:
                    request.label = wsgi_route(environ, request.status)
            except Exception:
                self._failures.note("request")
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)

        try:
            body = self._app(environ, observed_start)
        except BaseException as error:
            traffic.finish(request, error, where="wsgi")
            raise
        try:
            whole = hasattr(body, "__len__") or _is_file(body, environ.get("wsgi.file_wrapper"))
        except Exception:
            whole = True
            self._failures.note("request")
        if whole:
            traffic.finish(request, None, where="wsgi")
            return body
        return _Body(body, request, traffic)


def _is_file(body: Any, wrapper: Any) -> bool:
    return isinstance(wrapper, type) and isinstance(body, wrapper)


class _Body:
    """A body under way. It is over when it is closed, or when reading it raises."""

    def __init__(self, body: Any, request: Request, traffic: Traffic) -> None:
        self._body = body
        self._chunks: Any = None
        self._request = request
        self._traffic = traffic

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            if self._chunks is None:
                self._chunks = iter(self._body)
            return next(self._chunks)
        except StopIteration:
            raise
        except BaseException as error:
            self._end(error)
            raise

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            self._end(error)
            raise
        self._end(None)

    def _end(self, error: BaseException | None) -> None:
        if not self._request.finished:
            self._traffic.finish(self._request, error, where="wsgi")
