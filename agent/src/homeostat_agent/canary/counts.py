"""What the arms of one canary did: units, their failures by type, and how long they took."""

from __future__ import annotations

from collections import deque

from homeostat_agent.canary.histogram import bucket_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, NamedTuple
else:
    from homeostat_agent.record import NamedTuple

MAX_ERROR_TYPES = 20
"""Kinds of error per arm and interval; the others are one kind."""

OTHER = "(other)"
_MAX_PENDING = 65_536


class Series(NamedTuple):
    """Units of one arm and one outcome in an interval."""

    sum_s: float
    buckets: dict[int, int]
    """Sparse: units by `histogram.bucket_of` their duration."""

    @property
    def units(self) -> int:
        return sum(self.buckets.values())


class Counts:
    """Units that ended, noted without a lock: in a signal handler, a finalizer or a forked child alike.

    More than `_MAX_PENDING` between two looks are not told, the oldest first. The object itself stands for
    one canary in what a unit remembers of its arms.
    """

    __slots__ = ("_ended", "add")

    def __init__(self) -> None:
        self._ended: deque[tuple[bool, str, float]] = deque(maxlen=_MAX_PENDING)
        self.add: Callable[[tuple[bool, str, float]], None] = self._ended.append
        """Note a unit that ended: whether on new code, what its failure is called or "", and its seconds."""

    def take(self) -> dict[tuple[bool, str], Series]:
        """Return what ended since the last call, by arm and kind of failure (empty: none). One caller at a time."""
        found: dict[tuple[bool, str], tuple[list[float], dict[int, int]]] = {}
        kinds = [0, 0]
        for _ in range(len(self._ended)):
            arm, kind, seconds = self._ended.popleft()
            row = found.get((arm, kind))
            if row is None:
                if kind and kinds[arm] >= MAX_ERROR_TYPES:
                    kind = OTHER
                elif kind:
                    kinds[arm] += 1
                row = found.setdefault((arm, kind), ([], {}))
            row[0].append(seconds)
            bucket = bucket_of(seconds)
            row[1][bucket] = row[1].get(bucket, 0) + 1
        return {key: Series(sum(row[0]), row[1]) for key, row in found.items()}

    def clear(self) -> None:
        """Forget everything: in a forked child these are copies of what the parent will tell."""
        self._ended.clear()
