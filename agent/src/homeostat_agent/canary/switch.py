"""Says for each call which code it runs: the old, or the new.

Order of what is asked, stated once: the request's arm → the arm of the call or task that this call is part
of → is the canary over → a new unit, which draws its arm. A unit on the new arm goes to the old one as
soon as the lease has run out, whoever is or is not there to notice.

Called from the host's calls: nothing here locks, waits, or raises, and nothing runs code of the host
but what reads a key (guarded) and the callback that a task is given.
"""

from __future__ import annotations

import sys
import time
from _random import Random  # `random` would bring a dozen modules, and its numbers are the host's
from functools import partial
from os import urandom
from weakref import ref

from homeostat_agent.canary.counts import Counts
from homeostat_agent.canary.report import CanaryReport
from homeostat_agent.canary.unit import Unit, current_unit
from homeostat_agent.capture.traffic import current_request, next_serial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, NamedTuple, Optional, Union

    from homeostat_agent.canary.key import Key
    from homeostat_agent.canary.shadow import Shadow, ShadowCounts
    from homeostat_agent.capture.traffic import Request

    Arm = Union[bool, Unit]
    """Whether a call runs the new code; or the unit that begins with it, and knows."""
else:
    from homeostat_agent.record import NamedTuple

_monotonic_s = time.monotonic


class Terms(NamedTuple):
    """How a canary is run."""

    percent: float
    """Of the units that come to changed code, 0 to 100."""

    key: Optional[Key]
    """What keeps a user on one arm; None: each request draws its own."""

    lease_s: float
    """Unless it is renewed within this, every call goes back to the old code."""

    shadowed: frozenset[str] = frozenset()
    """Functions whose new code runs beside the old on copies, while no unit runs it: as ``path.py:qualname``."""


class Switch:
    """The arms of one change's canary in this process."""

    def __init__(
        self,
        change_id: str,
        terms: Terms,
        *,
        clock_s: Callable[[], float] = _monotonic_s,
        draw: Optional[Callable[[], float]] = None,
    ) -> None:
        self.change_id = change_id
        self.key = terms.key
        self.percent = terms.percent
        self.until_s = clock_s() + terms.lease_s
        self.counts = Counts(keyed=terms.key is not None)
        """What is counted; in what a unit remembers, it stands for this canary."""

        self._clock_s = clock_s
        self._random = Random()
        self._draw = draw or self._random.random
        self._over: Optional[bool] = False
        self._since = 0
        self._tasks: dict[Any, Unit] = {}
        self._running_loop: Callable[[], Any] = self._look_for_loops
        self._running_task: Callable[[], Any] = self._look_for_tasks
        self.pick = self._make_pick()
        """Return the arm of a call, or the unit that begins with it, which is entered already."""

        self.shadow = self._make_shadow(terms.shadowed)
        """Compares calls, where functions are shadowed and as long as the share is none."""

    @property
    def running(self) -> bool:
        """Whether calls are told apart: begun, not ended, and not out of its lease."""
        return self._over is None and not self.lapsed

    @property
    def lapsed(self) -> bool:
        """Whether the lease ran out. It cannot be renewed any more."""
        return self._clock_s() >= self.until_s

    @property
    def remaining_s(self) -> float:
        return max(0.0, self.until_s - self._clock_s())

    def same_key(self, key: Optional[Key]) -> bool:
        """Tell whether units are told apart by the same value of a request."""
        return (key and (key.place, key.name)) == (self.key and (self.key.place, self.key.name))

    def open(self) -> None:
        """Begin. Until now every call ran the old code, and a request that has begun goes on with it."""
        self._since = next_serial()
        self._over = None
        if self.shadow is not None and not self.percent:
            self.shadow.start()

    def picker(self, name: str) -> Callable[[], Any]:
        """Return what the dispatcher of a function asks for each call; `name` as in `Terms.shadowed`."""
        return self.shadow.picker(name) if self.shadows(name) and self.shadow is not None else self.pick

    def shadows(self, name: str) -> bool:
        """Tell whether calls of this function are compared."""
        return self.shadow is not None and name in self.shadow.functions

    def watch(self) -> bool:
        """See to what runs beside the calls: to be called again and again; return whether anything does."""
        if self.shadow is None:
            return False
        self.shadow.watch()
        return self.shadow.busy

    def renew(self, *, lease_s: float, percent: float) -> None:
        """Set lease and share anew; a lapsed one stays so. Units under way keep their arms."""
        if self.lapsed:
            return
        self.until_s = self._clock_s() + lease_s
        if percent and self.shadow is not None and self.shadow.open:
            self.shadow.close()
            self._since = next_serial()  # a request that has begun ran the old code so far, and goes on with it
        self.percent = percent

    def end(self, *, new: bool) -> CanaryReport:
        """Send every call to this code from now on, whatever its unit began with; return the last report."""
        counts, lapsed = self.counts, self._over is None and self.lapsed
        self._over = new
        found = self._found()
        if self.shadow is not None:
            self.shadow.close()
        self.counts = Counts()
        self._tasks = {}
        return CanaryReport(self.change_id, 0, counts.take(), lapsed, found)

    def report(self) -> CanaryReport:
        """Return what ended since the last one."""
        percent = self.percent if self.running else 0
        return CanaryReport(self.change_id, percent, self.counts.take(), lapsed=False, shadow=self._found())

    def become_forked_child(self) -> None:
        """Go on in a forked child: same share and lease, its own draws and counts."""
        self._random.seed(int.from_bytes(urandom(16), "big"))
        self.counts.clear()
        if self.shadow is not None:
            self.shadow.become_forked_child()

    def _found(self) -> Optional[ShadowCounts]:
        return None if self.shadow is None else self.shadow.take()

    def _make_shadow(self, functions: frozenset[str]) -> Optional[Shadow]:
        if not functions:
            return None
        from homeostat_agent.canary.shadow import Shadow  # brings pickle and ctypes

        return Shadow(self, functions, clock_s=self._clock_s)

    def _make_pick(self) -> Callable[[], Arm]:
        # A closure, and not a method: this runs at every call of routed code.
        clock_s, draw, first = self._clock_s, self._draw, self._first

        def pick() -> Arm:
            request = current_request()
            if request is not None:
                new = request.arms.get(self.counts)
                if new is not None and not request.finished:
                    return new and clock_s() < self.until_s
            else:
                unit = current_unit()
                if unit is not None:
                    if unit.counts is self.counts and not unit.ended:
                        task = unit.task
                        if task is None or task() is self._running_task():
                            return unit.new and clock_s() < self.until_s
                elif self._over is None and self._running_loop() is None:
                    return Unit(self.counts, draw() * 100 < self.percent and clock_s() < self.until_s)
            return first(request)

        return pick

    def _first(self, request: Optional[Request]) -> Arm:
        """Return the arm of a call where the commonest cases do not tell it; the old one where that cannot be told."""
        try:
            return self._decide(request)
        except Exception:  # a loop or a task of the host's own kind, which may do anything
            return False

    def _decide(self, request: Optional[Request]) -> Arm:
        if request is not None and not request.finished and self._over is None:
            if request.serial < self._since:
                return False  # what it has run so far was the old code
            point = None if self.key is None else request.point(self.counts, partial(self.key.point, self.change_id))
            return request.arms.setdefault(self.counts, self._arm(self._draw() if point is None else point))
        task = self._running_task()
        if task is not None and request is not None and self.counts in request.arms:
            # A task of a request that is over goes on as it began. A thread that has served one does other things now.
            return request.arms[self.counts] and self._clock_s() < self.until_s
        unit = current = current_unit()
        while unit is not None and (unit.counts is not self.counts or unit.ended or (task and unit.task)):
            unit = unit.outer
        if unit is None and task is not None:
            unit = self._tasks.get(ref(task))
        if unit is not None:
            return unit.new and self._clock_s() < self.until_s
        if self._over is not None:
            return self._over
        while current is not None and current.ended:  # nothing that is over is kept alive by what comes after
            current = current.outer
        new = self._arm(self._draw())
        return Unit(self.counts, new, current) if task is None else self._begin_task(task, new, current)

    def _begin_task(self, task: Any, new: bool, outer: Optional[Unit]) -> bool:
        unit = Unit(self.counts, new, outer, ref(task))
        tasks = self._tasks
        tasks[ref(task, lambda gone: tasks.pop(gone, None))] = unit
        try:
            task.add_done_callback(partial(_task_ended, unit))
        except Exception:  # the host's own kind of task: its end will not be heard of, so it is on no arm
            unit.new = False
        return unit.new

    def _arm(self, point: float) -> bool:
        return point * 100 < self.percent and self._clock_s() < self.until_s

    def _look_for_tasks(self) -> Any:
        """Return the running task; how, is kept once the program has loaded asyncio, which is not ours to do."""
        self._look_for_loops()
        return None if self._running_task == self._look_for_tasks else self._running_task()

    def _look_for_loops(self) -> Any:
        """Return the running loop, likewise."""
        if "asyncio.tasks" not in sys.modules:
            return None
        events, tasks = sys.modules.get("asyncio.events"), sys.modules.get("asyncio.tasks")
        running_loop = getattr(events, "_get_running_loop", None)
        # Before 3.12 `current_task` is written in Python; what it looks into is there for the others, too.
        known = getattr(tasks, "_current_tasks", None)
        of_loop = (
            known.get if sys.version_info < (3, 12) and known is not None else getattr(tasks, "current_task", None)
        )
        if running_loop is None or of_loop is None:  # another thread is importing it just now
            return None

        def running_task() -> Any:
            loop = running_loop()
            return None if loop is None else of_loop(loop)

        self._running_loop, self._running_task = running_loop, running_task
        return running_loop()


def _task_ended(unit: Unit, task: Any) -> None:
    # Not `task.exception()`: asyncio would take it for looked after, and not tell of it.
    unit.end(None if task.cancelled() else getattr(task, "_exception", None))
