"""New code beside the old on copies of the arguments, for functions that are declared pure: callers get the old result.

Order of a compared call, stated once: its arguments are copied → the old code runs, as it would → what it returned or
raised, and what became of its arguments, is copied → the caller goes on → a thread of its own runs the new code
on the copy, and compares. Where they differ, the old code is run on the copy, too: only what it does again, it is
held to. Nested calls are on the arm of whoever calls.

One call at a time is compared, and after each the time it took is waited for `_REST` times: so no more than a tenth
of one core goes to it, a call is held up by its copies alone, and code that never ends holds up nobody. Which call is
next is drawn: of calls that always come in a row, none is passed over for ever.
"""

from __future__ import annotations

import signal
import threading
import time
from _random import Random  # as in `switch`
from collections import deque
from contextvars import Context, copy_context
from types import coroutine

from homeostat_agent.canary.comparing import (
    INTERRUPTED,
    NOT_COMPARABLE,
    NOT_COPIED,
    SAME,
    UNFINISHED,
    UNREPEATABLE,
    Outcome,
    compare_outcomes,
    outcome_of,
)
from homeostat_agent.canary.copying import freeze, thaw
from homeostat_agent.canary.difference import Incomparable
from homeostat_agent.canary.interrupting import Interrupted, interrupt
from homeostat_agent.canary.unit import current_unit
from homeostat_agent.capture.traffic import begin_aside, current_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Generator, Optional, Union

    from homeostat_agent.canary.copying import Frozen
    from homeostat_agent.canary.switch import Switch
    from homeostat_agent.canary.unit import Unit

MOST_RUN_S = 1.0
"""How long the new code may take for one call, or `_TIMES` as long as the old; then it is interrupted."""

_TIMES = 4.0
_LONGEST_RUN_S = 30.0

_REST = 9.0
_HELD_S = 5.0
"""After so long a call that did not end (a coroutine that nobody goes on with) keeps no other from being compared."""

_MOST_PASSED = 1000

MOST_KINDS = 50
"""Kinds of what was found, of one interval; the others are one kind."""

OTHER = "(other)"
_PATIENCE_S = 0.5
_monotonic_s = time.monotonic


class ShadowCounts:
    """What was found by comparing calls in an interval."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str, str], int] = {}
        """Calls, by function, outcome (`comparing`), and where and how it differs, or what was raised."""

        self.skipped = 0
        """Calls that were not compared, as others were just being; it may miss some."""

        self.seconds = {False: 0.0, True: 0.0}
        """What the compared calls took, by whether on new code."""

    def add(self, function: str, outcome: str, detail: str) -> None:
        key = (function, outcome, detail)
        if key not in self.found and len(self.found) >= MOST_KINDS:
            key = (function, outcome, OTHER if detail else "")
        self.found[key] = self.found.get(key, 0) + 1


class Shadow:
    """The comparing of one canary in this process, as long as it is open."""

    def __init__(
        self,
        switch: Switch,
        functions: frozenset[str],
        *,
        clock_s: Callable[[], float] = _monotonic_s,
        most_run_s: float = MOST_RUN_S,
    ) -> None:
        """`functions` are names as ``path.py:qualname``."""
        self.functions = functions
        self.open = False
        self.faults = 0
        """Exceptions of our own, which neither caller nor agent got to see."""

        self._switch = switch
        self._clock_s = clock_s
        self._most_run_s = most_run_s
        self._ready_at_s = 0.0
        self._begin()

    def _begin(self) -> None:
        self._taken_until_s = 0.0
        self._skipped = self._skipped_told = self._skipped_then = 0
        self._to_pass = 0
        self._random = Random()
        self._jobs: deque[_Call] = deque(maxlen=16)
        self._found: deque[tuple[str, str, str, float, float]] = deque(maxlen=65_536)
        self._wake = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._job: Optional[_Call] = None
        self._overdue_s = 0.0

    # Called from the host's calls

    def picker(self, name: str) -> Callable[[], Any]:
        """Return what the dispatcher of one function asks for each call: as `Switch.pick`, or a call to be compared."""
        pick, clock_s = self._switch.pick, self._clock_s

        def pick_or_compare() -> Union[bool, Unit, _Call]:
            arm = pick()
            if not self.open or arm is True:
                return arm
            now_s = clock_s()
            if now_s >= self._switch.until_s:
                return arm
            if now_s < self._ready_at_s or now_s < self._taken_until_s or self.busy:
                self._skipped += 1  # of two threads at once one may be missed
                return arm
            if self._to_pass > 0:
                self._to_pass -= 1
                self._skipped += 1
                return arm
            self._taken_until_s = now_s + _HELD_S
            self._draw_next()
            return _Call(self, name, arm or None)

        return pick_or_compare

    def _draw_next(self) -> None:
        """Draw which call is compared next, among as many as were passed over before: not always the first of a row."""
        passed, self._skipped_then = self._skipped - self._skipped_then, self._skipped
        self._to_pass = int(self._random.random() * (min(passed, _MOST_PASSED) + 1))

    def hand_over(self, call: _Call, took_s: float) -> None:
        """Take a call whose old code has ended; `took_s` is what the caller was held up by the copies."""
        if self.open and call.given is not None and call.outcome is not None:
            call.held_up_s = took_s
            self._jobs.append(call)
            self._wake.set()
        else:
            self._rest(took_s)
        self._taken_until_s = 0.0

    def count(self, function: str, outcome: str, detail: str = "", old_s: float = 0.0, new_s: float = 0.0) -> None:
        """Note what was found of a call."""
        self._found.append((function, outcome, detail, old_s, new_s))

    # Called by the agent

    def start(self) -> None:
        """Begin, with a thread of its own; where the system gives none, nothing is compared."""
        self.open = True
        self._thread = threading.Thread(target=self._serve, name="homeostat-shadow", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self.open = False
            self.faults += 1

    def close(self) -> None:
        """Compare no more calls. What runs is interrupted, and what it finds is not counted."""
        self.open = False
        self._jobs.clear()
        if self._job is not None and self._thread is not None and not interrupt(self._thread):
            self._overdue_s = 0.0  # for `watch`
        self._wake.set()

    def watch(self) -> None:
        """Interrupt new code that takes too long: to be called again and again."""
        job, thread, now_s = self._job, self._thread, self._clock_s()
        if job is None or thread is None or now_s < self._overdue_s:
            return
        if self.open and job.claim():
            self.count(job.name, job.overdue)
        if interrupt(thread):
            self._overdue_s = now_s + _PATIENCE_S  # what catches everything is told again

    @property
    def busy(self) -> bool:
        """Whether a call is being compared, or waits for it."""
        return bool(self._jobs) or self._job is not None

    def rest_for(self, seconds: float) -> None:
        """Compare no call for so long from now on; then the next one."""
        self._ready_at_s = self._clock_s() + seconds
        self._to_pass = 0

    def take(self) -> Optional[ShadowCounts]:
        """Return what was found since the last call; None where nothing was. One caller at a time."""
        counts = ShadowCounts()
        for _ in range(len(self._found)):
            function, outcome, detail, old_s, new_s = self._found.popleft()
            counts.add(function, outcome, detail)
            counts.seconds[False] += old_s
            counts.seconds[True] += new_s
        skipped = self._skipped
        counts.skipped, self._skipped_told = skipped - self._skipped_told, skipped
        return counts if counts.found or counts.skipped else None

    def become_forked_child(self) -> None:
        """Go on in a forked child, where the thread is not: with one of its own, and nothing counted."""
        was_open = self.open
        self._begin()
        if was_open:
            self.start()

    # The thread

    def _serve(self) -> None:
        # Signals are the program's: taken here, they would not wake what its main thread waits in.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            # All that goes on for long is within: an interruption may come late, and anywhere in it.
            try:
                self._serve_on()
                return
            except Interrupted:
                continue  # whoever interrupts has counted the call; one that was hit by mistake is not counted
            except BaseException:  # a bug of ours must not reach the host
                self.faults += 1

    def _serve_on(self) -> None:
        while self.open:
            self._job = None
            self._wake.wait()
            self._wake.clear()
            while self._jobs:
                self._take_up(self._jobs.popleft())

    def _take_up(self, job: _Call) -> None:
        began_s = self._clock_s()
        self._overdue_s = began_s + _LONGEST_RUN_S
        self._job = job
        if not self.open:  # after it was noted: whoever closes sees either it, or nothing that will run
            return
        try:
            found, detail, new_s = self._find(job)
        finally:
            self._rest(self._clock_s() - began_s + job.held_up_s)
            self._job = None
        if self.open and not self._switch.lapsed and job.claim():
            self.count(job.name, found, detail, job.old_s, new_s)

    def _find(self, job: _Call) -> tuple[str, str, float]:
        """Run the new code on the copy, and say what was found, where and how, and how long it took."""
        assert job.given is not None and job.outcome is not None
        try:
            old = Outcome(*thaw(job.outcome))
            given = thaw(job.given)
        except Interrupted:
            raise
        except BaseException:  # what the host's objects are made of again by
            return NOT_COPIED, "", 0.0
        started_s = time.perf_counter()
        try:
            new = self._run(job, given, new=True)
            new_s = time.perf_counter() - started_s
            found, detail = compare_outcomes(old, new)
            if found not in (SAME, NOT_COMPARABLE):
                again = self._run(job, thaw(job.given), new=False)
                if compare_outcomes(old, again)[0] != SAME:
                    return UNREPEATABLE, "", new_s
        except Incomparable as error:
            return NOT_COMPARABLE, str(error), 0.0
        return found, detail, new_s

    def _run(self, job: _Call, given: tuple[tuple[Any, ...], dict[str, Any]], *, new: bool) -> Outcome:
        assert job.context is not None
        job.overdue = UNFINISHED if new else UNREPEATABLE
        self._overdue_s = self._clock_s() + min(max(self._most_run_s, job.old_s * _TIMES), _LONGEST_RUN_S)
        arms = {**job.arms, self._switch.counts: new}
        function = job.new_code if new else job.old_code
        context: Context = job.context.copy()
        context.run(begin_aside, arms)
        return context.run(outcome_of, function, *given)

    def _rest(self, took_s: float) -> None:
        self._ready_at_s = self._clock_s() + took_s * _REST


class _Call:
    """One call that is compared. For the dispatcher it is what a `Unit` is: it has one inside where it begins one."""

    __slots__ = (
        "_given", "_shadow", "_started_s", "_unclaimed", "_unit",
        "arms", "context", "given", "held_up_s", "name", "new_code", "old_code", "old_s", "outcome", "overdue",
    )  # fmt: skip

    new = False

    def __init__(self, shadow: Shadow, name: str, unit: Optional[Unit]) -> None:
        self._shadow = shadow
        self._unit = unit
        self._given: Any = None
        self._started_s = 0.0
        self.name = name
        self.given: Optional[Frozen] = None
        self.outcome: Optional[Frozen] = None
        self.context: Optional[Context] = None
        self.arms: dict[Any, bool] = {}
        """Of the other canaries that this call is part of."""

        self.overdue = UNFINISHED
        """What is found where what runs of it takes too long."""

        self._unclaimed = [True]
        self.held_up_s = 0.0
        self.old_s = 0.0

    def claim(self) -> bool:
        """Return whether it was not counted yet; of several threads one gets to count it."""
        try:
            return self._unclaimed.pop()
        except IndexError:
            return False

    def observe(self, old: Any, new: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Copy the arguments, before the old code runs."""
        started_s = time.perf_counter()
        self.old_code, self.new_code = old, new
        try:
            self._given = (given, named)
            self.given = freeze(self._given)
            self.context, self.arms = copy_context(), _arms_of_caller()
            if self.given is None:
                self._shadow.count(self.name, NOT_COPIED)
        except Exception:  # a bug of ours must not reach the host
            self.given = None
            self._shadow.faults += 1
        self._started_s = time.perf_counter()
        self.held_up_s = self._started_s - started_s

    def finish(self, error: Optional[BaseException], result: Any = None) -> None:
        """Copy what the old code returned or raised, and let the caller go on."""
        if self._unit is not None:
            self._unit.finish(error)
        self._end(error, result)

    @coroutine
    def drive(self, inner: Any) -> Generator[Any, Any, Any]:
        """Run the old coroutine to its end."""
        try:
            result = yield from (inner if self._unit is None else self._unit.drive(inner))
        except BaseException as error:
            self._end(error, None)
            raise
        self._end(None, result)
        return result

    def _end(self, error: Optional[BaseException], result: Any) -> None:
        ended_s = time.perf_counter()
        self.old_s = ended_s - self._started_s
        try:
            if self.given is not None and (error is None or isinstance(error, Exception)):
                raised = None if error is None else (type(error), error.args)
                self.outcome = freeze((result, raised, self._given))
                if self.outcome is None:
                    self._shadow.count(self.name, NOT_COMPARABLE)
            elif self.given is not None:
                self._shadow.count(self.name, INTERRUPTED)
            self._given = None
            self._shadow.hand_over(self, self.held_up_s + time.perf_counter() - ended_s)
        except Exception:  # a bug of ours must not reach the host
            self._shadow.faults += 1


def _arms_of_caller() -> dict[Any, bool]:
    """Return the arms of this call in all canaries, by their counts."""
    request = current_request()
    if request is not None:
        return dict(request.arms)
    found: dict[Any, bool] = {}
    unit = current_unit()
    while unit is not None:
        if not unit.ended:
            found.setdefault(unit.counts, unit.new)
        unit = unit.outer
    return found
