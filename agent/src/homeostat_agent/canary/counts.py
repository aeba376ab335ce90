"""What the arms of one canary did: units, their failures by type, and how long they took."""

from __future__ import annotations

from collections import deque

from homeostat_agent.canary.histogram import bucket_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional, Tuple

    Ended = Tuple[bool, str, float, Optional[float]]
    """A unit that ended: whether on new code, what its failure is called or "", its seconds, and its key's point."""

MAX_ERROR_TYPES = 20
"""Kinds of error per arm and interval; the others are one kind."""

MAX_KEYS = 200_000
"""Users that are told apart; of those that come later, nothing is counted."""

OTHER = "(other)"
_MAX_PENDING = 65_536


class ArmCounts:
    """What one arm counted in an interval. With keys (users), a key is the unit, and counts once."""

    __slots__ = ("at_risk", "buckets", "failures", "sum_s", "units")

    def __init__(self, at_risk: Optional[int]) -> None:
        self.units = 0
        """With keys: those that were not seen before."""

        self.failures: dict[str, int] = {}
        """Failed units by type; with keys: those that failed for the first time, whenever they were first seen."""

        self.sum_s = 0.0
        self.buckets: dict[int, int] = {}
        """Units by `histogram.bucket_of` how long they took; of a key, its first request."""

        self.at_risk = at_risk
        """With keys: those that had not failed before, the new ones among them; None without."""

    def add_unit(self, seconds: float) -> None:
        bucket = bucket_of(seconds)
        self.units += 1
        self.sum_s += seconds
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        if self.at_risk is not None:
            self.at_risk += 1

    def add_failure(self, kind: str) -> None:
        if kind not in self.failures and len(self.failures) >= MAX_ERROR_TYPES:
            kind = OTHER
        self.failures[kind] = self.failures.get(kind, 0) + 1


class Counts:
    """Units that ended, noted without a lock: in a signal handler, a finalizer or a forked child alike.

    More than `_MAX_PENDING` between two looks are not told, the oldest first. The object itself stands for
    one canary in what a unit remembers of its arms.
    """

    __slots__ = ("_at_risk", "_ended", "_keyed", "_keys", "add")

    def __init__(self, *, keyed: bool = False) -> None:
        self._ended: deque[Ended] = deque(maxlen=_MAX_PENDING)
        self.add: Callable[[Ended], None] = self._ended.append
        """Note a unit that ended."""

        self._keyed = keyed
        self._keys: dict[float, tuple[bool, bool]] = {}
        """By the point of a key: the arm it was seen on last, and whether it has failed there."""

        self._at_risk = [0, 0]

    def take(self) -> dict[bool, ArmCounts]:
        """Return what ended since the last call, by whether on new code. One caller at a time."""
        arms = {new: ArmCounts(self._at_risk[new] if self._keyed else None) for new in (False, True)}
        for _ in range(len(self._ended)):
            new, kind, seconds, point = self._ended.popleft()
            if point is not None:
                self._add_of_key(arms[new], new, kind, seconds, point)
                continue
            arms[new].add_unit(seconds)
            if kind:
                arms[new].add_failure(kind)
        return arms

    def clear(self) -> None:
        """Forget everything: in a forked child these are copies of what the parent will tell."""
        self._ended.clear()
        self._keys.clear()
        self._at_risk = [0, 0]

    def _add_of_key(self, arm: ArmCounts, new: bool, kind: str, seconds: float, point: float) -> None:
        on, failed = self._keys.get(point, (None, False))
        if on is None and len(self._keys) >= MAX_KEYS:
            return
        if on is not new:
            if on is not None and not failed:
                self._at_risk[on] -= 1  # the share has grown, and this user is on the other arm now
            self._at_risk[new] += 1
            failed = False
            arm.add_unit(seconds)
        if kind and not failed:
            self._at_risk[new] -= 1
            arm.add_failure(kind)
        self._keys[point] = (new, failed or bool(kind))
