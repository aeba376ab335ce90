"""A greater share of the interpreter for the thread that carries a change out, for as long as it does.

Beside busy threads, whoever wants the interpreter waits for each of them to be asked for it, 5 ms by
default, and a change gives it up some ten times. With a shorter interval all threads take shorter
turns. Nothing else changes for the host, and the interval it had comes back within milliseconds.
"""

from __future__ import annotations

import sys
from types import TracebackType

SWITCH_S = 0.0002


class Haste:
    """Shortens the switch interval from `__enter__` to the last `__exit__`; `relax` and `resume` are for waits within.

    For one thread at a time.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._usual_s: float | None = None

    def __enter__(self) -> Haste:
        self._depth += 1
        self.resume()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.relax()

    def resume(self) -> None:
        interval_s = sys.getswitchinterval()
        if self._usual_s is None and interval_s > SWITCH_S:
            self._usual_s = interval_s
            sys.setswitchinterval(SWITCH_S)

    def relax(self) -> None:
        """Give the host its interval back; one that it has set itself meanwhile stands."""
        usual_s, self._usual_s = self._usual_s, None
        if usual_s is not None and round(sys.getswitchinterval() - SWITCH_S, 6) == 0:
            sys.setswitchinterval(usual_s)
