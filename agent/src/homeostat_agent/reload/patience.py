"""Waiting, for a bounded time, until things of calls in flight are gone."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable
from typing import Any

from homeostat_agent.haste import Haste

_POLL_S = 0.005
_COLLECT_AFTER_S = 0.1


class Patience:
    """A bound on waiting that one request shares over all its waits."""

    def __init__(self, limit_s: float, haste: Haste) -> None:
        self._deadline_s = time.monotonic() + limit_s
        self._haste = haste

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._deadline_s

    def wait_until(self, done: Callable[[], bool], *, poll_s: float = _POLL_S) -> bool:
        """Poll until `done` or until the time is over; return what `done` said last."""
        while not done():
            if self.over:
                return False
            with self._haste.relaxed():
                time.sleep(poll_s)
        return True

    def wait_until_gone(self, references: list[weakref.ref[Any]]) -> bool:
        """Wait until none of these objects is alive; the caller holds no other reference to them.

        What waits in a cycle for the collector looks alive, so the young generations are collected
        after a moment, and all of them once before giving up, unless the host has switched the
        collector off.
        """

        def gone() -> bool:
            return all(reference() is None for reference in references)

        soon = Patience(min(_COLLECT_AFTER_S, max(0.0, self._deadline_s - time.monotonic())), self._haste)
        if soon.wait_until(gone):
            return True
        if gc.isenabled():
            gc.collect(1)
        if self.wait_until(gone):
            return True
        if gc.isenabled():
            gc.collect()
        return gone()
