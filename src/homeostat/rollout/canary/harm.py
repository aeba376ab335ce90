"""The tests for harm: more failures, slower, more spread. Each is a wager against "the new code does no harm".

All rest on one argument. Within a tick the arms are drawn at random, so while the new code does no harm, whatever
hits units (a failure, a latency above some bound) hits the canary's in proportion to its size. How often it hits may
change from tick to tick as it likes: load, bursts and drift that both arms share cancel out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from homeostat.model.latency import buckets_within
from homeostat.rollout.arms import Count
from homeostat.rollout.canary.arms import Tally
from homeostat.rollout.canary.clumps import Clumps
from homeostat.rollout.canary.settings import Quantile
from homeostat.rollout.wagers import ODDS, Wager, as_number, exposure_gains

TOLERATED_ODDS = 1.02
"""Hits (failures, slow units) whose odds are higher by less than this are no difference, however many are seen."""

_REFERENCE = ODDS.index(2.5)
"""The alternative by which the stretch in which the canary does worse is found."""

_LOW_TAIL, _HIGH_TAIL = 0.05, 0.95
_TAIL_EXCESS = 1.25
"""Spread counts only where each tail of the canary holds so many times what the control's does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Units of both arms that are judged together: a tick, or several small ones."""

    control: Tally
    canary: Tally


class Hits:
    """A wager on who is hit, and how the hits clump."""

    def __init__(self, *, most: float) -> None:
        self.wager = Wager(most=most)
        self._clumps = Clumps()

    def observe(self, ours: int, theirs: int, our_hits: int, their_hits: int) -> list[float]:
        """Bet on one block; return what each alternative gained."""
        gains = exposure_gains(ours, theirs, our_hits + their_hits, our_hits, tolerated=TOLERATED_ODDS)
        if our_hits + their_hits:
            self.wager.bet(gains)
        self._clumps.add(our_hits, ours, their_hits, theirs)
        return gains

    @property
    def counts(self) -> float:
        """The e-value that counts: what was won is divided by the clumping, what was lost is not."""
        won = self.wager.log_value
        return as_number(won / self._clumps.factor if won > 0 else won)


class ErrorHarm:
    """More failures than the control's."""

    def __init__(self, *, most: float) -> None:
        self.hits = Hits(most=most)
        self.control = Count(units=0, failures=0)
        self.canary = Count(units=0, failures=0)
        self._stretch = (self.control, self.canary)
        self._stretch_log = 0.0

    def observe(self, block: Block) -> None:
        control, canary = block.control, block.canary
        gains = self.hits.observe(canary.exposed, control.exposed, canary.failed, control.failed)
        self._stretch_log = max(self._stretch_log + gains[_REFERENCE], 0.0)
        self.control = _sum(self.control, control)
        self.canary = _sum(self.canary, canary)
        # Page's cumulative sum: what came before it was last at zero says nothing of a harm that began later.
        none = Count(units=0, failures=0)
        before = self._stretch if self._stretch_log else (none, none)
        self._stretch = (_sum(before[0], control), _sum(before[1], canary))

    @property
    def rise(self) -> float:
        return self.canary.rate - self.control.rate

    def is_felt(self, least_rise: float, *, sure: float) -> bool:
        """Tell whether the rise is great enough: over the whole, or over a stretch that alone is sure (in nats)."""
        if self.rise >= least_rise:
            return True
        control, canary = self._stretch
        return self._stretch_log >= sure and canary.rate - control.rate >= least_rise


def _sum(known: Count, more: Tally) -> Count:
    return Count(units=known.units + more.units, failures=known.failures + more.failed)


class Past:
    """The control's latencies until now, the later the heavier: what bounds are taken from, before they are used."""

    HALF_LIFE = 5_000
    """Units after which one counts half."""

    _LARGEST = 1e12

    def __init__(self) -> None:
        self._weights: dict[int, float] = {}
        self._scale = 1.0
        self._sum = 0.0

    def add(self, latency: Mapping[int, int]) -> None:
        count = sum(latency.values())
        self._scale *= 2.0 ** (min(count, 40 * self.HALF_LIFE) / self.HALF_LIFE)
        for bucket, units in latency.items():
            self._weights[bucket] = self._weights.get(bucket, 0.0) + units * self._scale
        self._sum += count * self._scale
        if self._scale > self._LARGEST:
            self._weights = {
                bucket: weight / self._scale
                for bucket, weight in self._weights.items()
                if weight / self._scale > 1 / self._LARGEST
            }
            self._sum = sum(self._weights.values())
            self._scale = 1.0

    def quantiles(self, wanted: tuple[float, ...]) -> list[int | None]:
        """Return the bucket that each quantile lies in (in rising order); None where too little is known of it."""
        known = self._sum / self._scale
        found: list[int | None] = []
        buckets = iter(sorted(self._weights.items()))
        below, at = 0.0, None
        for quantile in wanted:
            while below < quantile * self._sum:
                # Sums that are rounded may end below the whole; then the last bucket is meant.
                at, weight = next(buckets, (at, self._sum))
                below += weight
            found.append(at if known >= self.least_known(quantile) else None)
        return found

    @staticmethod
    def least_known(quantile: float) -> float:
        """Return how many units must be known before this quantile is used."""
        return max(20.0, 2 / min(quantile, 1 - quantile))


def above(latency: Mapping[int, int], bucket: int) -> int:
    """Count the units in this bucket and the later ones."""
    return sum(count for at, count in latency.items() if at >= bucket)


class SlowHarm:
    """One quantile of the latency is higher than is tolerated.

    With the control's quantile as bound, the canary's units count as slow only beyond the bound times the tolerated
    ratio: a canary that is slower by less has no more slow units than the control, by this count.
    """

    def __init__(self, quantile: Quantile, *, most: float) -> None:
        self.quantile = quantile
        self.hits = Hits(most=most)
        self._shift = math.ceil(buckets_within(quantile.tolerated))

    def observe(self, block: Block, at: int | None) -> None:
        if at is None:
            return
        slow = above(block.canary.latency, at + 1 + self._shift)
        _observe_latencies(self.hits, block, slow, above(block.control.latency, at + 1))


@dataclass(slots=True)
class SpreadHarm:
    """More units in both tails of the control's latencies, beyond them by the tolerated ratio: one mode became two.

    Units in the fast tail alone are an improvement, and in the slow one alone the affair of the quantiles.
    """

    hits: Hits
    shift: int
    _tails: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0), (0, 0)])
    """(canary's, control's) units in the fast and in the slow tail."""

    _timed: tuple[int, int] = (0, 0)

    def observe(self, block: Block, low: int | None, high: int | None) -> None:
        if low is None or high is None:
            return
        canary, control = block.canary.latency, block.control.latency
        timed = sum(canary.values()), sum(control.values())
        fast = (timed[0] - above(canary, low - self.shift), timed[1] - above(control, low))
        slow = (above(canary, high + 1 + self.shift), above(control, high + 1))
        _observe_latencies(self.hits, block, fast[0] + slow[0], fast[1] + slow[1])
        self._tails = [_pair(known, new) for known, new in zip(self._tails, (fast, slow), strict=True)]
        self._timed = _pair(self._timed, timed)

    @property
    def is_felt(self) -> bool:
        """Tell whether both tails hold more than the control's."""
        canary, control = self._timed
        return all(ours * control > _TAIL_EXCESS * theirs * canary for ours, theirs in self._tails)


def _pair(known: tuple[int, int], more: tuple[int, int]) -> tuple[int, int]:
    return known[0] + more[0], known[1] + more[1]


def _observe_latencies(hits: Hits, block: Block, ours: int, theirs: int) -> None:
    canary, control = sum(block.canary.latency.values()), sum(block.control.latency.values())
    if canary and control:
        hits.observe(canary, control, ours, theirs)
