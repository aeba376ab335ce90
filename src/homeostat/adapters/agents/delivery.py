"""Hands what agents send to the hub, on one thread, so that a slow store never holds up a connection.

Whoever took the least of that thread's time is heard first, and where room is short the largest gives: so
a program that sends without end is late, and loses what it sends, and nobody beside it does.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from homeostat.model.process import HostProcess

OnTelemetry = Callable[[str, dict[str, Any], HostProcess], None]

MAX_FRAMES = 2_000
MAX_BYTES = 64 << 20
_MAX_LANES = 1_000
"""Senders whose time is remembered when they have nothing queued; the longest unheard of goes first."""

_DRAIN_S = 2.0


@dataclass(slots=True)
class _Lane:
    """What one sender has queued, and how much of the thread's time it had."""

    frames: deque[tuple[str, dict[str, Any], HostProcess, int]] = field(default_factory=deque)
    weight: int = 0
    taken_s: float = 0.0


class Delivery:
    """A bounded queue and its one consumer. What does not fit is dropped and counted, newest first.

    Exceptions of the callbacks are recorded in `failures` and `last_failure`; they end nothing.
    """

    def __init__(
        self,
        *,
        on_telemetry: OnTelemetry,
        on_processes_changed: Callable[[], None],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_telemetry = on_telemetry
        self._on_processes_changed = on_processes_changed
        self._monotonic_s = monotonic_s
        self._ready = threading.Condition()
        self._lanes: OrderedDict[Hashable, _Lane] = OrderedDict()
        self._queued = 0
        self._weight = 0
        self._news = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="agents-delivery", daemon=True)
        self.dropped = 0
        self.failures = 0
        self.last_failure = ""

    def start(self) -> None:
        self._thread.start()

    def put(self, kind: str, body: dict[str, Any], process: HostProcess, *, weight: int, sender: Hashable) -> bool:
        """Queue one frame's body, which takes `weight` bytes of memory; False when there was no room. Never waits.

        `sender` is who has to give way when it sends too much.
        """
        with self._ready:
            if self._closing or weight > MAX_BYTES:
                self.dropped += 1
                return False
            weight = max(weight, MAX_BYTES // MAX_FRAMES)  # one measure for both limits
            lane = self._lane(sender)
            while self._weight + weight > MAX_BYTES:
                self.dropped += 1
                largest = max(self._lanes.values(), key=lambda item: item.weight)
                if largest.weight <= lane.weight + weight:
                    return False
                self._take_from(largest, newest=True)
            lane.frames.append((kind, body, process, weight))
            lane.weight += weight
            self._queued += 1
            self._weight += weight
            self._ready.notify()
            return True

    def processes_changed(self) -> None:
        """Tell the hub, soon; several changes may become one call, and none is lost."""
        with self._ready:
            self._news = True
            self._ready.notify()

    def close(self) -> None:
        """Deliver what is queued, for at most two seconds, and end; what is left counts as dropped."""
        with self._ready:
            self._closing = True
            self._ready.notify()
        if self._thread.is_alive():
            self._thread.join(_DRAIN_S)
        with self._ready:
            self.dropped += self._queued
            self._lanes.clear()
            self._queued = self._weight = 0

    def _lane(self, sender: Hashable) -> _Lane:
        """Return the sender's lane, made when there is none; call with the lock held."""
        lane = self._lanes.get(sender)
        if lane is None or not lane.frames:
            # Who was silent has saved nothing up, and who is new owes nothing.
            least_s = min((item.taken_s for item in self._lanes.values() if item.frames), default=0.0)
            lane = lane or _Lane()
            lane.taken_s = max(lane.taken_s, least_s)
        self._lanes[sender] = lane
        self._lanes.move_to_end(sender)
        if len(self._lanes) > _MAX_LANES:
            idle = next((key for key, item in self._lanes.items() if not item.frames and item is not lane), None)
            if idle is not None:
                del self._lanes[idle]
        return lane

    def _take_from(self, lane: _Lane, *, newest: bool = False) -> tuple[str, dict[str, Any], HostProcess]:
        kind, body, process, weight = lane.frames.pop() if newest else lane.frames.popleft()
        lane.weight -= weight
        self._queued -= 1
        self._weight -= weight
        return kind, body, process

    def _run(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._queued or self._news or self._closing)
                news, self._news = self._news, False
                waiting = [lane for lane in self._lanes.values() if lane.frames]
                lane = min(waiting, key=lambda item: item.taken_s) if waiting else None
                frame = self._take_from(lane) if lane is not None else None
                if frame is None and not news:
                    return
            if news:
                self._call(self._on_processes_changed)
            if frame is not None and lane is not None:
                began_s = self._monotonic_s()
                self._call(self._on_telemetry, *frame)
                lane.taken_s += self._monotonic_s() - began_s

    def _call(self, callback: Callable[..., None], *arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception as error:  # the edge to the hub: one bad record must not end telemetry
            self.failures += 1
            self.last_failure = f"{type(error).__name__}: {error}"[:300]
