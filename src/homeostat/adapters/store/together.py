"""Writes of many threads in one transaction: whoever comes while another one writes is served with the next.

A commit waits for the disk, and its statements cost nearly the same for one order as for ten. So nobody
writes alone while others wait: the first of those that wait does the work of all, and each has its answer
only when that is committed. Who finds nobody writing does not wait for others to come.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from homeostat.core.errors import IntegrityFailure, OutcomeUnknown, Unavailable

Order = TypeVar("Order")
Answer = TypeVar("Answer")


class _Place(Generic[Order, Answer]):
    """One order in the queue."""

    __slots__ = ("answer", "error", "is_served", "order", "turn")

    def __init__(self, order: Order) -> None:
        self.order = order
        self.turn = threading.Event()
        """Set when it is served, or when it is its turn to serve the others."""

        self.is_served = False
        self.answer: Answer | None = None
        self.error: BaseException | None = None


class Together(Generic[Order, Answer]):
    """Does orders of many threads by `work`, some at a time, at most `at_most`.

    `work` does all that it is given or nothing, and returns an answer for each, in their order. An order
    that fails by its own fault fails alone: those that were done with it are done again without it.
    """

    def __init__(self, work: Callable[[Sequence[Order]], Sequence[Answer]], *, at_most: int) -> None:
        self._work = work
        self._at_most = at_most
        self._lock = threading.Lock()
        self._queue: list[_Place[Order, Answer]] = []
        self._is_led = False

    def do(self, order: Order) -> Answer:
        """Return the answer to `order` when it is done; raises what `work` raised for it."""
        place: _Place[Order, Answer] = _Place(order)
        with self._lock:
            self._queue.append(place)
            # INVARIANT: who leads is the first in the queue; nobody leads only where nobody waits.
            leads, self._is_led = not self._is_led, True
        if not leads:
            place.turn.wait()
        if not place.is_served:
            self._lead()
        if place.error is not None:
            raise place.error
        return place.answer  # type: ignore[return-value]

    def _lead(self) -> None:
        with self._lock:
            places = self._queue[: self._at_most]
            del self._queue[: len(places)]
        try:
            self._serve(places)
        finally:
            with self._lock:
                following = self._queue[:1]
                self._is_led = bool(following)
            for place in (*places[1:], *following):
                place.turn.set()

    def _serve(self, places: Sequence[_Place[Order, Answer]]) -> None:
        try:
            answers = self._work([place.order for place in places])
            for place, answer in zip(places, answers, strict=True):
                place.answer, place.is_served = answer, True
        except BaseException as error:
            if len(places) > 1 and not isinstance(error, Unavailable | OutcomeUnknown | IntegrityFailure):
                for place in places:
                    self._serve([place])
                return
            for place in places:
                place.error, place.is_served = error, True
