"""Keeps the collector from moving objects out of the young generations, between two looks at them.

What was made since an earlier look is then found among the young objects, which are few; else the whole process is
looked through again. The youngest generation is collected as always. The host's own thresholds come back at the end,
and after a bounded time; those that it has set itself meanwhile stand.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

from homeostat_agent.reload.census import keeps_generations

LONGEST_S = 3.0
"""For so long older objects are not collected, while a change that was prepared is not asked for."""

_NEVER = 2**31 - 1


class Calm:
    """One stretch at a time."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._usual: tuple[int, int, int] | None = None
        self._set: tuple[int, int, int] = (0, 0, 0)
        self._until_s = 0.0

    def begin(self) -> None:
        """Begin, or begin anew."""
        self.end()
        if not keeps_generations():
            return
        self._usual = gc.get_threshold()
        self._set = (self._usual[0], _NEVER, self._usual[2])
        gc.set_threshold(*self._set)
        self._until_s = self._clock_s() + LONGEST_S

    def end_if_over(self) -> None:
        """End when it has lasted as long as it may."""
        if self._usual is not None and self._clock_s() >= self._until_s:
            self.end()

    def end(self) -> None:
        """Give the host its thresholds back."""
        usual, self._usual = self._usual, None
        if usual is not None and gc.get_threshold() == self._set:
            gc.set_threshold(*usual)
