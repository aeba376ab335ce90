"""The pace at which threads hand the interpreter on, while the agent carries a change out.

Beside busy threads, whoever wants the interpreter waits for each of them to be asked for it, 5 ms by
default. So a change sets Python's switch interval while it is at work, and the host's own comes back
for every wait and at the end. Nothing else changes for the host.
"""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

HURRIED_S = 0.0002
"""All threads take short turns: for what lets go of the interpreter again and again, as sending does."""

HELD_S = 0.006
"""For work that would else be interrupted all the time: longer than the work takes as a rule, and hardly longer than
Python's own 5 ms, as whoever gets a turn all the same may keep it for as long."""

_LET_GO_S = 0.00005

_sleep = time.sleep  # bound at import: a host may replace it with one that switches its tasks


class Haste:
    """Sets the pace of one thread at a time."""

    def __init__(self) -> None:
        self._wanted_s: float | None = None
        self._set_s = 0.0
        self._usual_s: float | None = None

    def hurried(self) -> Pace:
        """Wait little for the interpreter, until this ends; `hold` and `hurry` change turns within."""
        return Pace(self, HURRIED_S)

    def relaxed(self) -> Pace:
        """Go at the host's own pace, until this ends: for waits, and for long work."""
        return Pace(self, None)

    def hurry(self) -> None:
        """Go back to short turns; nothing outside of `hurried`."""
        if self._wanted_s is not None:
            self.go(HURRIED_S)

    def hold(self) -> None:
        """Let go of the interpreter once, so that who waits has a turn, then keep it; nothing outside of `hurried`.

        Whatever lets go of it from then on, such as a look at the disk, may wait for longer.
        """
        if self._wanted_s is not None:
            self.go(HELD_S)

    def end(self) -> None:
        """Give the host its interval back, in a forked child whose thread at work is gone."""
        self.go(None)

    def go(self, wanted_s: float | None) -> float | None:
        """Set the pace, and return the one before. For `Pace`."""
        before_s, self._wanted_s = self._wanted_s, wanted_s
        if wanted_s is None:
            self._give_back()
        elif wanted_s == HELD_S:
            # Threads that wait read the interval when their wait begins, which it does anew when somebody
            # else got the interpreter. After a turn of theirs, none asks for it by the short one.
            self._set(HURRIED_S)
            _sleep(_LET_GO_S)
            self._set(HELD_S)
        else:
            self._set(wanted_s)
        return before_s

    def _set(self, interval_s: float) -> None:
        if self._usual_s is None:
            self._usual_s = sys.getswitchinterval()
        elif not self._is_ours():
            return
        # A host that takes shorter turns anyway, or longer ones, keeps to them.
        self._set_s = min(interval_s, self._usual_s) if interval_s == HURRIED_S else max(interval_s, self._usual_s)
        _set_interval(self._set_s)

    def _give_back(self) -> None:
        """Set the host's own interval; one that it has set itself meanwhile stands."""
        if self._usual_s is not None and self._is_ours():
            _set_interval(self._usual_s)
        self._usual_s = None

    def _is_ours(self) -> bool:
        return round(sys.getswitchinterval() - self._set_s, 6) == 0


def _set_interval(interval_s: float) -> None:
    # Python keeps whole microseconds and cuts the rest off, so that of what it says itself one may get lost.
    sys.setswitchinterval(interval_s + 5e-7)


class Pace:
    """A stretch of work at one pace; what was before comes back after it."""

    __slots__ = ("_before_s", "_haste", "_wanted_s")

    def __init__(self, haste: Haste, wanted_s: float | None) -> None:
        self._haste = haste
        self._wanted_s = wanted_s
        self._before_s: float | None = None

    def __enter__(self) -> None:
        self._before_s = self._haste.go(self._wanted_s)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._haste.go(self._before_s)
