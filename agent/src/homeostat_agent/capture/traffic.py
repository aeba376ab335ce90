"""Requests: which one is running here, and how many there were per route, how long, and with what error."""

from __future__ import annotations

import itertools
import sys
import threading
from bisect import bisect_left
from collections import deque
from contextvars import ContextVar
from time import perf_counter

from homeostat_agent.capture.failures import Failures
from homeostat_agent.capture.occurrence import only_member, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, NamedTuple, Optional

    from homeostat_agent.canary.counts import Counts
else:
    from homeostat_agent.record import NamedTuple

LATENCY_BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""The hub's bounds (`homeostat.model.vitals.LATENCY_BOUNDS_MS`), in seconds; each bound is inclusive."""

MAX_ROUTES = 200
MAX_ERROR_TYPES = 20
"""Kinds of error per route and interval."""

OTHER = "(other)"
_FOLD_AT = 256
_MAX_PENDING = 65_536
_DISCONNECTS = frozenset({"ClientDisconnect", "ClientDisconnected"})

_serials = itertools.count(1)
_current: ContextVar[Optional[Request]]


class Request:
    """One request under way. It is never taken out of its context: `finished` says that it is over."""

    __slots__ = (
        "_read",
        "_source",
        "arms",
        "disconnected",
        "ended",
        "error_hint",
        "finished",
        "function",
        "label",
        "points",
        "printed",
        "serial",
        "started",
        "status",
        "suspect",
        "told",
    )

    def __init__(self, source: Any, read: Callable[[Any, int], str]) -> None:
        self._source = source
        self._read = read
        self.serial = next(_serials)
        self.label = ""
        self.status = 0
        self.error_hint = ""
        self.told = False
        """Whether an error was recorded in it."""

        self.arms: dict[Counts, bool] = {}
        """By canary (its counts stand for it): whether this request runs new code, once it came to any routed."""

        self.points: Optional[dict[Counts, float]] = None
        """By canary with a key: where the key of this request falls."""

        self.printed: list[tuple[Exception, str]] = []
        """What was printed before the status was known: of an answer in the 400s it is the client's affair."""

        self.suspect: Optional[Exception] = None
        """The exception that an answer from 500 would come of, as far as anybody has shown it."""

        self.function: Any = None
        """The function that answers it, where a hook into the framework has said so."""

        self.finished = False
        self.disconnected = False
        self.started = perf_counter()
        self.ended = 0.0

    def route(self) -> str:
        """Return the label as far as it is known now; it becomes final when the request ends."""
        return self.label or self._read(self._source, self.status)

    def answered(self, status: int, error: Optional[BaseException] = None) -> None:
        """Note the status, when the response starts. Who makes an answer of an exception is often still handling it."""
        self.status = status
        if status >= 500:
            error = error or sys.exc_info()[1]
            if isinstance(error, Exception):
                self.suspect = error

    def endpoint(self) -> Any:
        """Return the function that answers it, where the framework says which; None elsewhere."""
        if self.function is not None:
            return self.function
        return self._source.get("endpoint") if isinstance(self._source, dict) else None

    def method(self) -> str:
        """Return the HTTP method, in capitals; empty when the request is over."""
        source = self._source
        return str(source.get("REQUEST_METHOD") or source.get("method") or "") if isinstance(source, dict) else ""

    def point(self, counts: Counts, read: Callable[[Any], Optional[float]]) -> Optional[float]:
        """Return what `read` makes of the scope or environment for this canary, and keep it; None where it is over."""
        source = self._source
        point = None if source is None else read(source)
        if point is not None:
            self.points = {**(self.points or {}), counts: point}
        return point

    def close(self) -> None:
        self.label = self.route()
        self.finished = True
        # The context may live on in tasks of the host, what the request held shall not.
        self._source = self.suspect = self.function = None
        self.printed = []


_current = ContextVar("homeostat_request", default=None)

ASIDE = -1
"""The serial number of requests that are nobody's: below those of all others."""

current_request: Callable[[], Optional[Request]] = _current.get
"""Return the request of this context, also when it is finished already (see `Request.finished`)."""


def begin_aside(arms: dict[Counts, bool]) -> None:
    """Be in a request of nobody's in this context: routed calls go by these arms, and else run the old code.

    It is never counted, and nothing that happens in it is told.
    """
    request = Request({}, lambda *_: "")
    request.serial = ASIDE
    request.arms = arms
    _current.set(request)


def next_serial() -> int:
    """Return a number above those of all requests so far, and below those of all to come."""
    return next(_serials)


class Series(NamedTuple):
    """Requests of one route and one outcome in an interval."""

    sum_s: float
    buckets: tuple[int, ...]
    """One count for each of `LATENCY_BOUNDS_S`, and one for what is above the last."""

    @property
    def requests(self) -> int:
        return sum(self.buckets)


class Traffic:
    """Counts finished requests without making one wait for another.

    A request leaves its outcome on a deque (one atomic call). Every `_FOLD_AT` requests whoever comes by
    adds them up, if nobody else is doing it: the lock is only ever tried there, never waited for.
    """

    def __init__(
        self,
        *,
        failures: Failures,
        on_escape: Callable[[BaseException, str], None],
        on_ending: Callable[[Request, str], None],
        on_disconnect: Callable[[BaseException], None],
    ) -> None:
        self._failures = failures
        self._on_escape = on_escape
        self._on_ending = on_ending
        self._on_disconnect = on_disconnect
        self._labels: set[str] = set()
        self.active = True
        self.serves = False
        """Whether a server here hands its requests over to be counted, though none may have come yet."""

        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        self.serves = False  # whoever serves in the child says so anew, by its server or its first request
        self._lock = threading.Lock()
        self._done: deque[tuple[str, str, float]] = deque(maxlen=_MAX_PENDING)
        self._sums: dict[tuple[str, str], list[float]] = {}

    def begin(self, source: Any, read: Callable[[Any, int], str]) -> Request:
        """Make a request the current one. `read(source, status)` gives its route whenever it is asked for."""
        self.serves = True
        request = Request(source, read)
        _current.set(request)
        return request

    def finish(self, request: Request, error: Optional[BaseException], *, where: str) -> None:
        """Count a request that ended, by returning or by letting `error` escape. Never raises.

        An `Exception` that escapes or a status from 500 is an error, a client that went away is not, nor is
        a cancellation. `where` names the interface (``asgi``, ``wsgi``) for the record of the exception, or of
        an answer from 500 that nothing was recorded of.
        """
        try:
            ended = request.ended or perf_counter()
            kind = ""
            if request.printed or (error is None and request.status >= 500 and not request.told):
                self._on_ending(request, where)
            if isinstance(error, Exception):
                if is_disconnect(request, only_member(error)):
                    self._on_disconnect(error)
                else:
                    kind = type_name(only_member(error))
                    self._on_escape(error, where)
            elif error is None and request.status >= 500:
                kind = request.error_hint or str(request.status)
            request.close()
            if len(self._done) == _MAX_PENDING:
                self._failures.note("requests")
            self._done.append((request.label, kind, ended - request.started))
            if request.arms:
                points = request.points or {}
                for counts, new in request.arms.copy().items():
                    counts.add((new, kind, ended - request.started, points.get(counts)))
            if len(self._done) >= _FOLD_AT and self._lock.acquire(blocking=False):
                try:
                    self._fold()
                finally:
                    self._lock.release()
        except Exception:
            self._failures.note("request")

    def take(self) -> dict[tuple[str, str], Series]:
        """Return what was counted since the last call, by route and kind of error (empty: none)."""
        if not self._lock.acquire(timeout=1.0):
            self._failures.note("vitals")
            return {}
        try:
            self._fold()
            sums, self._sums = self._sums, {}
        finally:
            self._lock.release()
        return {key: Series(row[0], tuple(int(count) for count in row[1:])) for key, row in sums.items()}

    def _fold(self) -> None:
        done, sums = self._done, self._sums
        for _ in range(len(done)):
            label, kind, seconds = done.popleft()
            row = sums.get((label, kind))
            if row is None:
                key = self._key(label, kind)
                row = sums.setdefault(key, [0.0] * (len(LATENCY_BOUNDS_S) + 2))
            row[0] += seconds
            row[1 + bisect_left(LATENCY_BOUNDS_S, seconds)] += 1

    def _key(self, label: str, kind: str) -> tuple[str, str]:
        if label not in self._labels:
            if len(self._labels) >= MAX_ROUTES:
                label = OTHER
            else:
                self._labels.add(label)
        if kind and sum(1 for known, other in self._sums if known == label and other) >= MAX_ERROR_TYPES:
            kind = OTHER
        return label, kind


def is_disconnect(request: Request, error: BaseException) -> bool:
    """Tell whether an exception only says that the client is gone."""
    if request.disconnected and isinstance(error, OSError):
        return True
    return any(kind.__name__ in _DISCONNECTS for kind in type(error).__mro__)
