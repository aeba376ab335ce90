"""A unit of work outside of requests: a task, or the outermost call of routed code."""

from __future__ import annotations

from contextvars import ContextVar
from time import perf_counter
from types import coroutine

from homeostat_agent.capture.occurrence import only_member, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Generator, Optional

    from homeostat_agent.canary.counts import Counts

_current: ContextVar[Optional[Unit]]


class Unit:
    """One unit on one arm, from its first routed call to its end. Several canaries have a unit each.

    It is the current unit of its context from `enter` to `leave`. What yields in between is run by `drive`:
    between its steps its caller goes on with other things.
    """

    __slots__ = ("_started", "counts", "ended", "new", "outer", "task")

    def __init__(
        self,
        counts: Counts,
        new: bool,
        outer: Optional[Unit] = None,
        task: Optional[Callable[[], Any]] = None,
    ) -> None:
        """Make it, and the current unit of this context in the place of `outer`.

        `task` returns the task that it is, while there is one.
        """
        self.counts = counts
        self.new = new
        """Whether it runs the new code."""

        self.task = task
        self.ended = False
        self.outer = outer
        _current.set(self)
        self._started = perf_counter()

    def enter(self) -> None:
        """Be the current unit of this context."""
        outer = _current.get()
        while outer is not None and outer.ended:  # nothing that is over is kept alive by what comes after
            outer = outer.outer
        self.outer = outer
        _current.set(self)

    def leave(self) -> None:
        _current.set(self.outer)

    def end(self, error: Optional[BaseException]) -> None:
        """Count it, once. An `Exception` is a failure; a cancellation, an exit or an interrupt is none."""
        if not self.ended:
            self.ended = True
            self.counts.add((self.new, "" if error is None else _kind(error), perf_counter() - self._started, None))

    def observe(self, old: Any, new: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Look at what the call that it is was given: nothing here needs it (see `shadow`)."""

    def finish(self, error: Optional[BaseException], result: Any = None) -> None:
        """Leave and end: the call that it was is over."""
        _current.set(self.outer)
        self.ended = True
        self.counts.add((self.new, "" if error is None else _kind(error), perf_counter() - self._started, None))

    @coroutine
    def drive(self, inner: Any) -> Generator[Any, Any, Any]:
        """Run a generator or a coroutine to its end, as the current unit at each of its steps."""
        self.leave()
        try:
            result = yield from self.steps(inner)
        except BaseException as error:
            self.end(error)
            raise
        self.end(None)
        return result

    def drive_each(self, inner: Any) -> DrivenGenerator:
        """Return this asynchronous generator as one each of whose steps is run as the current unit."""
        self.leave()
        return DrivenGenerator(self, inner)

    @coroutine
    def steps(self, inner: Any) -> Generator[Any, Any, Any]:
        """Run something that has `send` and `throw` to its end, without counting that as the unit's."""
        value, thrown = None, None
        while True:
            self.enter()
            try:
                item = inner.send(value) if thrown is None else inner.throw(thrown)
            except StopIteration as stop:
                return stop.value
            finally:
                thrown = None
                self.leave()
            try:
                value = yield item
            except BaseException as error:  # GeneratorExit too: the inner one answers to it as it likes
                thrown = error


class DrivenGenerator:
    """The two methods of an asynchronous generator that a dispatcher uses; the unit ends with it."""

    __slots__ = ("_inner", "_unit")

    def __init__(self, unit: Unit, inner: Any) -> None:
        self._unit = unit
        self._inner = inner

    async def asend(self, value: Any) -> Any:
        return await self._step(self._inner.asend(value))

    async def athrow(self, error: BaseException) -> Any:
        return await self._step(self._inner.athrow(error))

    async def _step(self, step: Any) -> Any:
        try:
            return await self._unit.steps(step)
        except StopAsyncIteration:
            self._unit.end(None)
            raise
        except BaseException as error:
            self._unit.end(error)
            raise


_current = ContextVar("homeostat_unit", default=None)

current_unit: Callable[[], Optional[Unit]] = _current.get
"""Return the innermost unit of this context, which may be another canary's, or over."""


def _kind(error: BaseException) -> str:
    """Return what a failure is called, as `Traffic.finish` does; empty for what is none."""
    if not isinstance(error, Exception):
        return ""
    try:
        return type_name(only_member(error))
    except Exception:  # the host's exception, which may say anything of itself
        return type(error).__name__
