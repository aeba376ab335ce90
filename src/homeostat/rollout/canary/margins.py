"""What must be shown before a change is promoted: that its harm is below a margin. Each is a wager against "it is not".

A bound that is reached once holds with its confidence however often it was looked at; all of them must be reached, so
each may have the whole chance of a false promotion.
"""

import math

from homeostat.model.latency import buckets_within
from homeostat.rollout.arms import Count
from homeostat.rollout.canary.harm import Block, above
from homeostat.rollout.canary.settings import JudgeSettings, Quantile
from homeostat.rollout.wagers import Wager, as_number, exposure_gains, margin_gain

FAILURES = "failures"

_STEPS = (0.5, 1.0, 2.0)
"""Parts of the margin at which the rise is bounded, to say how great it may be."""

_PRIOR_RATE, _PRIOR_UNITS = 0.02, 25
"""What is expected of failures before anything was seen, and how many units that is worth."""

_LIKE_UNITS = 50
"""What is expected of a rate of which little was seen is worth so many units."""


class RiseMargin:
    """The failure rate of the canary is above the control's by less than a margin.

    Half of the stake expects the rates that were seen so far, half those of the block before: storms go on.
    """

    def __init__(self, margin: float, *, most: float) -> None:
        parts = [part * margin for part in _STEPS if part * margin < 1]
        self._wagers = {part: Wager((0.5, 0.5), most=most) for part in parts}
        self._margin = margin
        self._before: Count | None = None

    def observe(self, block: Block, *, control: Count, canary: Count) -> None:
        """Bet on a block; `control` and `canary` are what was seen before it."""
        usual, usual_control = expected_rates(control, canary)
        lately = usual_control if self._before is None else _like(self._before, usual_control)
        counts = (block.canary.failed, block.canary.exposed), (block.control.failed, block.control.exposed)
        for margin, wager in self._wagers.items():
            guesses = (min(usual, usual_control + margin / 2), usual_control), (lately, lately)
            gains = [margin_gain(*counts, guess=guess, margin=margin) for guess in guesses]
            if any(gains):
                wager.bet(gains)
        both = counts[0][0] + counts[1][0], counts[0][1] + counts[1][1]
        self._before = Count(failures=both[0], units=both[1])

    @property
    def best(self) -> float:
        """Most evidence that the rise is below the margin, in nats."""
        return self._wagers[self._margin].best

    def at_most(self, *, sure: float) -> float | None:
        """Return the least rise that is excluded with so much evidence (in nats)."""
        return min((margin for margin, wager in self._wagers.items() if wager.best >= sure), default=None)


def expected_rates(control: Count, canary: Count) -> tuple[float, float]:
    """Return the failure rates to expect of canary and control; alike, until the canary shows otherwise."""
    known = control.units + _PRIOR_UNITS
    rate = min((control.failures + _PRIOR_RATE * _PRIOR_UNITS) / known, 0.999)
    return _like(canary, rate), rate


def _like(seen: Count, rate: float) -> float:
    """Return the rate that was seen, drawn towards another as long as little was."""
    return min((seen.failures + rate * _LIKE_UNITS) / (seen.units + _LIKE_UNITS), 0.999)


class LatencyMargin:
    """A quantile of the canary's latency is below the control's times the margin.

    Were the canary slower by that ratio, at least as large a part of it would lie beyond the bound times the ratio as
    of the control beyond the bound.
    """

    def __init__(self, quantile: Quantile, *, most: float) -> None:
        self.quantile = quantile
        self.wager = Wager(most=most)
        self.shift = shift_of(quantile)

    def observe(self, block: Block, at: int | None) -> None:
        """Bet on a block; `at` is the bucket that the control's quantile was in before it."""
        canary, control = block.canary.latency, block.control.latency
        sizes = sum(canary.values()), sum(control.values())
        if at is None or not all(sizes):
            return
        slow, slow_control = above(canary, at + self.shift), above(control, at)
        if slow + slow_control:
            # The roles are changed: what speaks for the canary are slow units of the control.
            self.wager.bet(exposure_gains(sizes[1], sizes[0], slow + slow_control, slow_control, tolerated=1.0))


def shift_of(quantile: Quantile) -> int:
    """Return the margin in buckets, rounded to the strict side."""
    return max(math.floor(buckets_within(quantile.margin)), 1)


class Margins:
    """All bounds of one step."""

    def __init__(self, settings: JudgeSettings) -> None:
        self.sure = -math.log(settings.false_promotion)
        most = self.sure / 2
        self.rise = RiseMargin(settings.rise_margin, most=most)
        self.latency = [LatencyMargin(quantile, most=most) for quantile in settings.quantiles]

    def evidence(self) -> dict[str, float]:
        """Return the best e-value of each bound by its name."""
        return {FAILURES: as_number(self.rise.best)} | {
            one.quantile.name: as_number(one.wager.best) for one in self.latency
        }

    def missing(self, *, timed: bool) -> list[str]:
        """Name what is not shown yet; latencies only where there are any."""
        missing = [] if self.rise.best >= self.sure else [FAILURES]
        if timed:
            missing += [one.quantile.name for one in self.latency if one.wager.best < self.sure]
        return missing
