"""How late an event loop comes to what it was asked to do: a timer that notes by how much it was missed."""

from __future__ import annotations

import sys
from contextvars import Context
from weakref import WeakSet, ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

INTERVAL_S = 0.05


class LoopLag:
    """Watches the loops on which requests were seen. A timer does not keep a loop alive."""

    def __init__(self) -> None:
        self.active = True
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        self._last: Any = lambda: None
        self._probes: WeakSet[_Probe] = WeakSet()
        self._loops: WeakSet[Any] = WeakSet()
        self._max_s: Optional[float] = None

    def watch(self) -> None:
        """Watch the running loop, if there is one of asyncio's and it is not watched yet."""
        asyncio = sys.modules.get("asyncio")
        if asyncio is None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # another library's loop
            return
        if self._last() is loop:
            return
        if loop not in self._loops:
            probe = _Probe(self, loop)
            self._loops.add(loop)
            self._probes.add(probe)
            probe.schedule()
        self._last = ref(loop)

    def note(self, late_s: float) -> None:
        if self._max_s is None or late_s > self._max_s:
            self._max_s = late_s

    def take_ms(self) -> Optional[float]:
        """Return the greatest lag since the last call, also one that still goes on; None when nothing was measured."""
        for probe in list(self._probes):
            overdue = probe.overdue_s()
            if overdue > 0:
                self.note(overdue)
        greatest, self._max_s = self._max_s, None
        return None if greatest is None else greatest * 1000.0


class _Probe:
    """One loop's timer. The loop holds it, the monitor only knows it weakly."""

    def __init__(self, monitor: LoopLag, loop: Any) -> None:
        self._monitor = monitor
        self._loop = loop
        self._due = 0.0

    def schedule(self) -> None:
        self._due = self._loop.time() + INTERVAL_S
        # An empty context: the one of the first request would live as long as the loop.
        self._loop.call_later(INTERVAL_S, self._fire, context=Context())

    def overdue_s(self) -> float:
        """Return how late the timer is at this moment; 0 when the loop does not run."""
        return float(self._loop.time() - self._due) if self._loop.is_running() else 0.0

    def _fire(self) -> None:
        if self._monitor.active:
            self._monitor.note(max(0.0, self._loop.time() - self._due))
            self.schedule()
