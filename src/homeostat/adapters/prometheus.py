"""Asking Prometheus, beside whoever wants to know: a server that hangs holds nobody up.

What it answers is somebody else's word: bounded in size and time, parsed strictly, and no evidence where anything is
not as documented (its HTTP interface, version 1, `query_range`). Redirects are not followed, proxies not used.
"""

import json
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from homeostat.model.settings import PrometheusQuery
from homeostat.rollout.detectors.queries import Answer, Reading, Unanswered, worst

FRESH_S = 5.0
"""An answer is asked for anew when it is so old."""

STALE_S = 60.0
"""An answer that is so old is none, and one that nobody asked for that long is forgotten."""

_MAX_BYTES = 4 << 20
_MAX_SERIES = 100
_MOST_POINTS = 600
_LEAST_STEP_S = 5.0
_MAX_WORDS = 200


_Question: TypeAlias = tuple[PrometheusQuery, datetime]
"""A query, and since when: what is known since one time answers nothing of a longer one."""


@dataclass(slots=True)
class _Known:
    answer: Answer = Unanswered(reason="Prometheus was not asked yet")
    at_s: float = -math.inf
    asked: bool = False
    """A newer one is under way."""

    wanted_s: float = -math.inf
    """When somebody last asked."""


class Prometheus:
    """`homeostat.ports.measuring.Measures`. Safe to use from several threads."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 3.0,
        fresh_s: float = FRESH_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fresh_s = fresh_s
        self._now_s = now_s
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._known: dict[_Question, _Known] = {}
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="homeostat-prometheus")
        self._is_closed = False

    def answer(self, query: PrometheusQuery, *, since: datetime, until: datetime) -> Answer:
        now_s = self._now_s()
        with self._lock:
            known = self._known.setdefault((query, since), _Known())
            known.wanted_s = now_s
            self._forget(now_s)
            if not known.asked and not self._is_closed and now_s - known.at_s >= self._fresh_s:
                known.asked = True
                self._pool.submit(self._renew, query, since, until)
            if STALE_S <= now_s - known.at_s < math.inf:
                return Unanswered(reason=f"Prometheus has not answered for {now_s - known.at_s:.0f} s")
            return known.answer

    def _forget(self, now_s: float) -> None:
        for question, known in tuple(self._known.items()):
            if now_s - known.wanted_s >= STALE_S:
                del self._known[question]

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _renew(self, query: PrometheusQuery, since: datetime, until: datetime) -> None:
        answer: Answer
        try:
            answer = self._ask(query, since, until)
        except Exception as error:  # the edge of a thread: nobody else would hear of it
            answer = Unanswered(reason=f"Prometheus could not be asked: {type(error).__name__}")
        with self._lock:
            known = self._known.get((query, since))
            if known is not None:
                known.answer, known.at_s, known.asked = answer, self._now_s(), False

    def _ask(self, query: PrometheusQuery, since: datetime, until: datetime) -> Answer:
        import httpx  # takes a quarter of a second to import: only where Prometheus is asked

        start_s, end_s = since.timestamp(), until.timestamp()
        step_s = max(_LEAST_STEP_S, math.ceil((end_s - start_s) / _MOST_POINTS))
        params: dict[str, str] = {"query": query.query, "start": f"{start_s:.3f}", "end": f"{end_s:.3f}"}
        params["step"] = f"{step_s:g}"
        deadline_s = time.monotonic() + self._timeout_s
        body = b""
        try:
            with (
                httpx.Client(timeout=self._timeout_s, trust_env=False, follow_redirects=False) as client,
                client.stream("GET", f"{self._url}/api/v1/query_range", params=params) as response,
            ):
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > _MAX_BYTES:
                        return Unanswered(reason="Prometheus answered with more than 4 MiB")
                    if time.monotonic() > deadline_s:
                        return Unanswered(reason=f"Prometheus took more than {self._timeout_s:g} s to answer")
                status = response.status_code
        except httpx.TimeoutException:
            return Unanswered(reason=f"Prometheus took more than {self._timeout_s:g} s to answer")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Unanswered(reason=f"Prometheus cannot be reached: {type(error).__name__}")
        return parse_answer(query, status, body, start_s=start_s, end_s=end_s, step_s=step_s)


def parse_answer(
    query: PrometheusQuery, status: int, body: bytes, *, start_s: float, end_s: float, step_s: float
) -> Answer:
    """Read what was answered to one `query_range`; anything but that is no answer."""
    try:
        document = json.loads(body)
        if status != 200 or document["status"] != "success":
            told = str(document.get("error", "no reason given"))[:_MAX_WORDS]
            return Unanswered(reason=f"Prometheus refused the query (status {status}): {told}")
        if document["data"]["resultType"] != "matrix":
            return Unanswered(reason="Prometheus answered with something else than values over time")
        series = document["data"]["result"]
        if len(series) > _MAX_SERIES:
            return Unanswered(reason=f"Prometheus answered with {len(series)} series; at most {_MAX_SERIES} are read")
        at_each = _by_time(series, start_s=start_s, step_s=step_s)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        return Unanswered(reason=f"what answers there (status {status}) does not answer as Prometheus does")
    count = math.floor((end_s - start_s) / step_s) + 1
    return [
        Reading(
            at=datetime.fromtimestamp(start_s + index * step_s, tz=UTC),
            value=worst(query, at_each[index]) if index in at_each else None,
        )
        for index in range(count)
    ]


def _by_time(series: list[Any], *, start_s: float, step_s: float) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for one in series:
        for at_s, text in one["values"]:
            if not isinstance(text, str):
                raise TypeError("a value is a text")
            value = float(text)
            if not math.isnan(value):
                found.setdefault(round((float(at_s) - start_s) / step_s), []).append(value)
    return found


class NoPrometheus:
    """Where none is configured: there are no queries either, so it is never asked."""

    def answer(self, query: PrometheusQuery, *, since: datetime, until: datetime) -> Answer:
        return Unanswered(reason="`detectors.prometheus_url` is not set")

    def close(self) -> None:
        """Nothing is held."""
