"""Differences of ever-growing counters: what senders with cumulative temporality leave to the receiver."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

MAX_SERIES = 20_000
FRESH_NS = 120 * 1_000_000_000
"""A counter that began at most this long before its first report is counted from its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A counter's values (count, sum, buckets, ...) at `time_ns`, counted since `start_ns` (0: not said)."""

    start_ns: int
    time_ns: int
    values: tuple[float, ...]


class CumulativeReader:
    """Remembers the last reading of each series, of at most `max_series`; the longest unused goes first.

    Not for several threads at once: whoever shares one takes turns.
    """

    def __init__(self, *, max_series: int = MAX_SERIES) -> None:
        self._max_series = max_series
        self._last: OrderedDict[Hashable, Reading] = OrderedDict()

    @property
    def series_count(self) -> int:
        return len(self._last)

    def difference(self, series: Hashable, reading: Reading) -> Reading | None:
        """Return what was counted since the last reading of this series, or None where that is not known.

        It is not known at the first sight of an old counter, for a reading that is not newer than the last
        (a repeated request), and after a reset whose time the sender does not tell.
        """
        last = self._last.get(series)
        if last is not None and reading.time_ns <= last.time_ns:
            return None
        self._last[series] = reading
        self._last.move_to_end(series)
        if len(self._last) > self._max_series:
            self._last.popitem(last=False)
        if last is None:
            fresh = 0 < reading.start_ns <= reading.time_ns <= reading.start_ns + FRESH_NS
            return reading if fresh else None
        if reading.start_ns > last.time_ns:  # restarted, and it says when
            return reading
        grown = len(reading.values) == len(last.values) and all(
            new >= old for new, old in zip(reading.values, last.values, strict=True)
        )
        if not grown or (reading.start_ns and last.start_ns and reading.start_ns != last.start_ns):
            return None
        return Reading(
            start_ns=last.time_ns,
            time_ns=reading.time_ns,
            values=tuple(new - old for new, old in zip(reading.values, last.values, strict=True)),
        )
