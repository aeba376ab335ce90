"""What a process may say of itself: how it fared, in the time that has just passed, once.

An agent's word decides whether a change stays, and the change itself may be what speaks: its code runs in the
process that holds the key. What a process says of its own present cannot be checked from outside. But it
cannot speak for another, rewrite what it said, or say today how it fared before the change.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from homeostat.model.vitals import VitalsTick
from homeostat.telemetry.cumulative import CumulativeReader

MAX_LATE = timedelta(seconds=90)
"""An agent keeps a minute of vitals while the hub is away; what is told later than that is not believed."""

MAX_PROCESSES = 10_000
MAX_PER_S = 100_000
"""Requests and errors that a process can have in a second: far more than any does."""

_TICKS_AT_ONCE = 120
_TICKS_PER_S = 8
"""One is usual, four while a canary runs, and one more at each exchange of code."""


@dataclass(slots=True)
class _Told:
    first_at: datetime
    until: datetime
    count: int = 0


class OwnWord:
    """Remembers up to when each process has told its vitals, of at most `MAX_PROCESSES`.

    Not for several threads at once: whoever shares one takes turns.
    """

    def __init__(self) -> None:
        self.reader = CumulativeReader()
        self._told: OrderedDict[str, _Told] = OrderedDict()

    def admit(self, process_id: str, ticks: Iterable[VitalsTick], *, now: datetime) -> Sequence[VitalsTick]:
        """Return of these ticks, oldest first, those that count; as those of this process, whatever they say.

        An interval begins where the last one ended at the earliest.
        """
        told = self._told.get(process_id)
        if told is None:
            told = self._told[process_id] = _Told(first_at=now, until=now - MAX_LATE)
        self._told.move_to_end(process_id)
        while len(self._told) > MAX_PROCESSES:
            self._told.popitem(last=False)
        admitted = []
        for tick in ticks:
            start, end = max(tick.start, told.until), min(tick.end, now)
            allowed = _TICKS_AT_ONCE + _TICKS_PER_S * (now - told.first_at).total_seconds()
            if end < now - MAX_LATE or end <= told.until or told.count >= allowed or not _is_possible(tick):
                continue
            told.until = end
            told.count += 1
            admitted.append(replace(tick, process_id=process_id, start=min(start, end), end=end))
        return admitted


def _is_possible(tick: VitalsTick) -> bool:
    most = MAX_PER_S * max((tick.end - tick.start).total_seconds(), 1.0)
    return max(tick.requests, tick.errors_logged) <= most
