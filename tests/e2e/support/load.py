"""A few customers at once, from threads of the test, with every answer written down."""

import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from e2e.support.processes import wait_for


@dataclass(frozen=True)
class Request:
    """One kind of request, and what it is called in the books."""

    kind: str
    path: str


@dataclass(frozen=True)
class Answer:
    kind: str
    began_s: float
    """On the monotonic clock."""

    status: int
    """0: the connection failed, nothing was answered."""


def priced(kind: str, **query: object) -> Request:
    return Request(kind, "/price?" + urlencode(query))


PLAIN = (priced("plain", item="tea"), priced("plain", item="mug", quantity=2), priced("plain", item="tea", quantity=3))
COUPON = (priced("coupon", item="tea", coupon="SPRING10"),)
SMALL = (priced("small", item="tea", coupon="spring10"),)
MANY = (priced("many", item="mug", quantity=9), priced("many", item="tea", quantity=7))


def get(url: str, path: str, *, timeout_s: float = 10.0) -> tuple[int, object]:
    """Return status and JSON body of one GET; status 0 when nothing was answered."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        data = answer.read()
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()
    return answer.status, json.loads(data) if answer.headers.get_content_type() == "application/json" else None


class Load:
    """Customers who come at a steady rate until `stop`. Use it as a context."""

    def __init__(self, url: str, requests: Sequence[Request], *, rate: float = 120.0, customers: int = 4) -> None:
        self._url = url
        self._requests = itertools.cycle(requests)
        self._pause_s = customers / rate
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._answers: list[Answer] = []
        self._threads = [threading.Thread(target=self._shop, args=(i,), daemon=True) for i in range(customers)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def answers(self, *kinds: str, since_s: float = 0.0) -> list[Answer]:
        """Return the answers to requests of these kinds (none named: all) that began at or after `since_s`."""
        with self._lock:
            return [a for a in self._answers if a.began_s >= since_s and (not kinds or a.kind in kinds)]

    def wait_for(self, count: int, *kinds: str, where: Callable[[Answer], bool] = lambda answer: True) -> list[Answer]:
        """Wait for so many more answers of these kinds (from now on) and return them."""
        since_s = time.monotonic()

        def enough() -> list[Answer] | None:
            found = [answer for answer in self.answers(*kinds, since_s=since_s) if where(answer)]
            return found if len(found) >= count else None

        found = wait_for(enough, what=f"{count} answers of {kinds or 'any kind'}")
        assert found is not None
        return found

    def _shop(self, number: int) -> None:
        due_s = time.monotonic() + self._pause_s * number / len(self._threads)
        while not self._stop.is_set():
            self._stop.wait(max(0.0, due_s - time.monotonic()))
            due_s = max(due_s + self._pause_s, time.monotonic() - self._pause_s)
            with self._lock:
                request = next(self._requests)
            began_s = time.monotonic()
            status, _ = get(self._url, request.path)
            with self._lock:
                self._answers.append(Answer(request.kind, began_s, status))
