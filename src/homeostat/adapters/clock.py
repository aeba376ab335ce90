"""The real clock, and the real source of ids."""

import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_STEP = timedelta(milliseconds=50)
"""A difference between the two clocks that is more than reading one after the other explains."""

_EASE = 0.01
"""Share of the time that passes by which a lead over the machine's clock is given up again."""


def _machine_time() -> datetime:
    return datetime.now(UTC)


class SystemClock:
    """Implements `homeostat.ports.clock.Clock` for a command that looks once and ends."""

    def now(self) -> datetime:
        return _machine_time()

    def monotonic_s(self) -> float:
        return time.monotonic()

    def lead(self) -> timedelta:
        return timedelta(0)


class HubClock:
    """Implements `homeostat.ports.clock.Clock` for a hub: the machine's clock, but it never goes back.

    When the machine's clock is set back, this one goes on from where it was, ahead of the machine's,
    and gives up its lead by and by. A step forward is followed. So of two things that happened one
    after the other in a hub's life the later one has the later time, and time that passed is
    counted as such; what a step forward makes seem long is told apart by what was seen meanwhile
    (`homeostat.rollout.observation`). `not_before` carries this over a restart.
    """

    def __init__(
        self,
        *,
        machine_time: Callable[[], datetime] = _machine_time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._machine_time = machine_time
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._lead = timedelta(0)
        self._seen_s = monotonic_s()
        self._seen = self._last = machine_time()

    def now(self) -> datetime:
        with self._lock:
            return self._advance()

    def monotonic_s(self) -> float:
        return self._monotonic_s()

    def lead(self) -> timedelta:
        with self._lock:
            self._advance()
            return self._lead

    def not_before(self, at: datetime) -> None:
        """Go on from `at` where the machine's clock is behind it."""
        with self._lock:
            now = self._advance()
            if at > now:
                self._lead += at - now
                self._last = at

    def _advance(self) -> datetime:
        machine, monotonic_s = self._machine_time(), self._monotonic_s()
        passed = timedelta(seconds=monotonic_s - self._seen_s)
        step = machine - self._seen - passed
        if step < -_STEP:
            self._lead -= step
        elif step > _STEP:
            self._lead -= min(self._lead, step)
        self._lead -= min(self._lead, passed * _EASE)
        self._seen, self._seen_s = machine, monotonic_s
        self._last = max(self._last, machine + self._lead)
        return self._last


class RandomIds:
    """Implements `homeostat.ports.clock.IdSource`."""

    def new_uuid(self) -> str:
        return str(uuid.uuid4())
