"""Bets against a hypothesis, tick by tick, that stay valid however often they are looked at.

A wager begins with a stake of 1 and bets at odds that are fair, or worse, while the hypothesis holds. What it is worth
is then a supermartingale, and ever reaches 1/alpha with a chance of at most alpha (Ville, 1939). It spreads its stake
over alternatives (the mixture of Robbins, 1970) and keeps some of it for alternatives that begin to hold
later, so that what is lost while nothing is wrong need not be won back first.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

from homeostat.rollout.sequential import log_sum

ALTERNATIVES = ((1.25, 0.05), (1.6, 0.1), (2.5, 0.15), (4.0, 0.25), (6.5, 0.25), (12.0, 0.12), (40.0, 0.08))
"""Odds ratios that are bet on, beyond the tolerated one, and the share of the stake of each."""

KEPT_BACK = 0.25
"""Share of the stake for what begins later: of it the k-th bet gets 1 / (k (k + 1))."""

ODDS = tuple(ratio for ratio, _ in ALTERNATIVES)
SHARES = tuple(share for _, share in ALTERNATIVES)
_HALVINGS = 16
"""Until rates are near enough. A bet at rates that are not the nearest is as valid, and wins a little less."""

_LOG_ODDS = tuple(math.log(ratio) for ratio in ODDS)


class Wager:
    """A stake of 1 on several alternatives; `most` caps what one bet can win, in nats."""

    __slots__ = ("_bets", "_logs", "_most", "_shares", "best", "log_value")

    def __init__(self, shares: Sequence[float] = SHARES, *, most: float = math.inf) -> None:
        self._shares = tuple(math.log(share) for share in shares)
        self._logs = [log + math.log1p(-KEPT_BACK) for log in self._shares]
        self._bets = 0
        self._most = most
        self.log_value = 0.0
        """What it is worth, in nats."""

        self.best = 0.0
        """The most that it was ever worth, in nats."""

    def bet(self, gains: Iterable[float]) -> None:
        """Multiply what stands on each alternative by its likelihood ratio, given in nats.

        INVARIANT: of each ratio the mean is at most 1 while the hypothesis holds, given all that was known before.
        """
        self._bets += 1
        freed = math.log(KEPT_BACK / (self._bets * (self._bets + 1)))
        most, log1p, exp = self._most, math.log1p, math.exp
        logs = []
        for log, share, gain in zip(self._logs, self._shares, gains, strict=True):
            more = share + freed
            added = log + log1p(exp(more - log)) if log > more else more + log1p(exp(log - more))
            logs.append(added + (gain if gain < most else most))
        self._logs = logs
        self.log_value = log_sum((*logs, math.log(KEPT_BACK / (self._bets + 1))))
        self.best = max(self.best, self.log_value)

    @property
    def value(self) -> float:
        return as_number(self.log_value)


def as_number(log: float) -> float:
    """Return an e-value that is given in nats; capped where a float ends."""
    return math.exp(min(log, 700.0))


def share_gains(ours: float, theirs: float, hits: float, our_hits: float, *, tolerated: float) -> list[float]:
    """Return what the alternatives gain when `our_hits` of the hits are ours, each being so independently.

    Under the hypothesis the odds of ours are at most `tolerated` times ours to theirs.
    """
    return [
        our_hits * log - hits * per_hit
        for log, per_hit in zip(_LOG_ODDS, _per_hit(tolerated * ours, theirs), strict=True)
    ]


def exposure_gains(ours: float, theirs: float, hits: float, our_hits: float, *, tolerated: float) -> list[float]:
    """Return what the alternatives gain when, of `ours + theirs` units, so many were hit, and so many of ours.

    Given sizes and hits, which units were hit is a draw without replacement while the arms do not differ, whatever
    the rate that they share. A likelihood ratio is (odds ratio) ** our_hits over its mean, and for that mean there are
    three bounds, of which the least is taken: the draw with replacement (Hoeffding, 1963, theorem 4), the same for the
    units that were *not* hit, and Serfling's (1974) for a draw of so large a part, the best where half are hit.
    """
    whole = ours + theirs
    if not whole:
        return [0.0] * len(ODDS)
    missed = whole - hits
    expected = hits * ours / whole
    spread = (ours * theirs + min(ours, theirs)) / (8 * whole)
    log_tolerated = math.log(tolerated)
    return [
        our_hits * log
        - min(
            hits * per_hit,
            (ours - missed) * log + missed * per_miss,
            expected * log + spread * (log + log_tolerated) ** 2,
        )
        for log, per_hit, per_miss in zip(
            _LOG_ODDS, _per_hit(tolerated * ours, theirs), _per_hit(tolerated * theirs, ours), strict=True
        )
    ]


@lru_cache(maxsize=4096)
def _per_hit(ours: float, theirs: float) -> tuple[float, ...]:
    """Return the log of the mean of (odds ratio if ours, else 1), for each alternative."""
    whole = ours + theirs
    return tuple(math.log((ratio * ours + theirs) / whole) for ratio in ODDS)


def margin_gain(
    canary: tuple[int, int], control: tuple[int, int], *, guess: tuple[float, float], margin: float
) -> float:
    """Return what a bet against "the canary fails at a rate that is higher by at least `margin`" gains.

    Both arms as (failures, units); `guess` are the rates that are expected instead, canary's first, from what was
    known before. The bet is the likelihood ratio of the guess to the nearest pair of rates that the hypothesis
    allows (Turner and Grünwald, 2023). Written as a product of 1 + g (failed - r) over the units, with
    n g of the arms equal and opposite, its mean is at most exp(sum of n g (rate - r)) <= 1; that needs the mean
    rate of each arm alone, so units may differ, and it needs units that are independent given their rates.
    """
    (failed, units), (failed_control, units_control) = canary, control
    a, a_control = guess
    if not units or not units_control or a - a_control >= margin:
        return 0.0
    r, r_control = nearest_rates((a, units), (a_control, units_control), margin=margin)
    g = (a - r) / (r * (1 - r))
    g_control = -g * units / units_control
    factors = (1 + g * (1 - r), 1 - g * r, 1 + g_control * (1 - r_control), 1 - g_control * r_control)
    if min(factors) <= 0:
        return 0.0
    counts = (failed, units - failed, failed_control, units_control - failed_control)
    return sum(count * math.log(factor) for count, factor in zip(counts, factors, strict=True))


def nearest_rates(canary: tuple[float, float], control: tuple[float, float], *, margin: float) -> tuple[float, float]:
    """Return the rates that differ by the margin and are nearest to the expected ones, by their likelihood.

    Both arms as (expected rate, units); the expected rates differ by less than the margin.
    """
    (a, units), (a_control, units_control) = canary, control
    low, high = 0.0, 1 - margin
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        r = middle + margin
        slope = units * (r - a) / (r * (1 - r)) + units_control * (middle - a_control) / (middle * (1 - middle))
        low, high = (middle, high) if slope < 0 else (low, middle)
    r_control = (low + high) / 2
    return r_control + margin, r_control
