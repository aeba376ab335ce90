"""Hands what agents send to the hub, on one thread, so that a slow store never holds up a connection."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from homeostat.model.process import HostProcess

OnTelemetry = Callable[[str, dict[str, Any], HostProcess], None]

MAX_FRAMES = 2_000
MAX_BYTES = 64 << 20
_DRAIN_S = 2.0


class Delivery:
    """A bounded queue and its one consumer. What does not fit is dropped and counted, newest first.

    Exceptions of the callbacks are recorded in `failures` and `last_failure`; they end nothing.
    """

    def __init__(self, *, on_telemetry: OnTelemetry, on_processes_changed: Callable[[], None]) -> None:
        self._on_telemetry = on_telemetry
        self._on_processes_changed = on_processes_changed
        self._ready = threading.Condition()
        self._frames: deque[tuple[str, dict[str, Any], HostProcess, int]] = deque()
        self._bytes = 0
        self._news = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="agents-delivery", daemon=True)
        self.dropped = 0
        self.failures = 0
        self.last_failure = ""

    def start(self) -> None:
        self._thread.start()

    def put(self, kind: str, body: dict[str, Any], process: HostProcess, *, size: int) -> bool:
        """Queue one frame's body of `size` bytes; False when there was no room. Never waits."""
        with self._ready:
            if self._closing or len(self._frames) >= MAX_FRAMES or self._bytes + size > MAX_BYTES:
                self.dropped += 1
                return False
            self._frames.append((kind, body, process, size))
            self._bytes += size
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
            self.dropped += len(self._frames)
            self._frames.clear()

    def _run(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._frames or self._news or self._closing)
                news, self._news = self._news, False
                frame = self._frames.popleft() if self._frames else None
                if frame is not None:
                    self._bytes -= frame[3]
                if frame is None and not news:
                    return
            if news:
                self._call(self._on_processes_changed)
            if frame is not None:
                self._call(self._on_telemetry, *frame[:3])

    def _call(self, callback: Callable[..., None], *arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception as error:  # the edge to the hub: one bad record must not end telemetry
            self.failures += 1
            self.last_failure = f"{type(error).__name__}: {error}"[:300]
