"""Simulated time: events in their order, and tasks that wait among them. Nothing here knows a real clock.

A task is a thread, but only one thread ever runs: whoever waits hands the baton back, so that a run
depends on its seed alone. Where a task does not wait nothing else happens: a lock of the code under
simulation may be held over anything but a wait.
"""

import heapq
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from homeostat.testing.memory_repository import SimulatedDeath

_LOOK_EVERY_S = 0.5
_PATIENCE_S = 30.0
"""Real seconds that a task may run without waiting: beyond, it hangs in a lock that another task holds."""


class Task:
    """A piece of work that may wait. `doomed`: its process died, and it ends at its next breath."""

    def __init__(self, timeline: "Timeline", name: str, work: Callable[[], None]) -> None:
        self.name = name
        self.doomed = False
        self.done = False
        self.error: BaseException | None = None
        self._timeline = timeline
        self._work = work
        self._baton = _baton()
        self._wake = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def doom(self) -> None:
        """Let it die where it waits."""
        self.doomed = True
        self._timeline.after(0, self._resume_for(self._wake))

    def _run(self) -> None:
        self._baton.acquire()
        try:
            if not self.doomed:
                self._work()
        except SimulatedDeath:
            pass
        except BaseException as error:  # handed to whoever runs the simulation
            self.error = error
        self.done = True
        self._timeline.hand_back()

    def pause(self, seconds: float) -> None:
        if self.doomed:
            raise SimulatedDeath
        self._wake += 1
        self._timeline.after(seconds, self._resume_for(self._wake))
        self._timeline.hand_back()
        self._baton.acquire()
        if self.doomed:
            raise SimulatedDeath

    def _resume_for(self, wake: int) -> Callable[[], None]:
        def resume() -> None:
            if not self.done and self._wake == wake:
                self._timeline.run_task(self)

        return resume

    def take_baton(self) -> None:
        if not self._thread.is_alive():
            self._thread.start()
        self._baton.release()


class Timeline:
    """What happens when. Also the clock: time moves between events, and a microsecond with every look."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._now = start
        self._events: list[tuple[datetime, int, Callable[[], None]]] = []
        self._count = 0
        self._main = _baton()
        self._tasks: list[Task] = []
        self.current: Task | None = None

    # `homeostat.ports.clock.Clock`

    def now(self) -> datetime:
        self._now += timedelta(microseconds=1)
        return self._now

    def monotonic_s(self) -> float:
        return (self.now() - self._start).total_seconds()

    def lead(self) -> timedelta:
        return timedelta(0)

    # Events and tasks

    def elapsed_s(self) -> float:
        """Return the simulated seconds since the start; unlike `monotonic_s` this look takes no time."""
        return (self._now - self._start).total_seconds()

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self._now + timedelta(seconds=seconds), self._count, what))

    def spawn(self, name: str, work: Callable[[], None]) -> Task:
        """Let a task begin at once, after what is due already."""
        task = Task(self, name, work)
        self._tasks = [item for item in self._tasks if not item.done]
        self._tasks.append(task)
        self.after(0, lambda: self.run_task(task) if not task.done else None)
        return task

    def run(self, *, until_s: float, after_each: Callable[[], None]) -> None:
        """Let everything happen up to a time, and call `after_each` after each event."""
        end = self._start + timedelta(seconds=until_s)
        while self._events and self._events[0][0] <= end:
            at, _, what = heapq.heappop(self._events)
            self._now = max(self._now, at)
            what()
            after_each()
        self._now = max(self._now, end)

    def end(self) -> None:
        """Let every task die, so that no thread is left."""
        for task in self._tasks:
            task.doomed = True
            if not task.done:
                self.run_task(task)

    def run_task(self, task: Task) -> None:
        """Let a task run until it waits or ends. What it raised is raised here."""
        self.current = task
        task.take_baton()
        if not self._main.acquire(timeout=_PATIENCE_S):
            raise RuntimeError(f"the task {task.name} hangs: it waits for a lock that another task holds")
        self.current = None
        if task.error is not None:
            raise task.error

    def hand_back(self) -> None:
        self._main.release()

    # Waiting, for whoever runs inside a task

    def pause(self, seconds: float) -> None:
        """Let time pass for the task that runs now. Outside of tasks nobody can wait: no time passes."""
        if self.current is not None:
            self.current.pause(seconds)

    def wait_until(
        self, condition: Callable[[], bool], *, timeout_s: float, look_every_s: float = _LOOK_EVERY_S
    ) -> bool:
        """Wait in simulated time; False when it ran out."""
        left_s = timeout_s
        while not condition():
            if left_s <= 0 or self.current is None:
                return False
            step_s = min(look_every_s, left_s)
            self.pause(step_s)
            left_s -= step_s
        return True


def _baton() -> threading.Lock:
    """Return a lock that is taken: whoever waits for the baton takes it, whoever has it lets it go."""
    lock = threading.Lock()
    lock.acquire()
    return lock


class Turn:
    """A lock between tasks, in simulated time."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self.taken = False

    def __enter__(self) -> None:
        while self.taken:
            self._timeline.pause(0.05)
        self.taken = True

    def __exit__(self, *error: object) -> None:
        self.taken = False
