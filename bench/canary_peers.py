"""Two judges of canaries as others have them, written plainly, to stand beside ours on the same streams."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from homeostat_agent.canary.histogram import lower_bound_s

from homeostat.rollout.canary import ArmTick, CanaryTick


class Said(StrEnum):
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    CONTINUE = "continue"


@dataclass(kw_only=True)
class FixedThreshold:
    """Argo Rollouts: the success rate of each interval against a constant, and a number of failures that are forgiven.

    As in the project's documentation (Analysis & Progressive Delivery): `successCondition: result[0] >= 0.95`,
    `failureLimit: 3`; an analysis fails with the fourth failed measurement. An interval is ten ticks here, and an
    analysis ten intervals (`count`).
    """

    success_rate: float = 0.95
    failure_limit: int = 3
    interval_ticks: int = 10
    count: int = 10
    _units: int = 0
    _failed: int = 0
    _ticks: int = 0
    _measured: int = 0
    _bad: int = 0
    said: Said = Said.CONTINUE

    def feed(self, tick: CanaryTick) -> Said:
        self._units += tick.canary.units
        self._failed += tick.canary.failed
        self._ticks += 1
        if self.said is not Said.CONTINUE or self._ticks % self.interval_ticks:
            return self.said
        if self._units:
            self._measured += 1
            self._bad += 1 - self._failed / self._units < self.success_rate
        self._units = self._failed = 0
        if self._bad > self.failure_limit:
            self.said = Said.ROLLBACK
        elif self._measured >= self.count:
            self.said = Said.PROMOTE
        return self.said


@dataclass(kw_only=True)
class RepeatedMannWhitney:
    """Kayenta's Netflix judge: a Mann-Whitney test of both arms' series, for each metric, repeated over all so far.

    A metric fails when the confidence interval (98 %) of the Hodges-Lehmann shift lies above a quarter of its estimate.
    Metrics are the error rate and the mean latency of each tick, with equal weight; the score is the share that
    passes, in percent, and a score below the marginal one (75) ends the canary at once. It is judged every
    ten ticks, over all ticks so far (a growing lookback), and passes after the last.
    """

    fraction: float = 0.25
    normal_quantile: float = 2.3263
    """Of the two-sided confidence of 98 %."""

    interval_ticks: int = 10
    count: int = 10
    marginal: float = 75.0
    _errors: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    _latency: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    _ticks: int = 0
    said: Said = Said.CONTINUE

    def feed(self, tick: CanaryTick) -> Said:
        for arm, counted in enumerate((tick.control, tick.canary)):
            if counted.units:
                self._errors[arm].append(counted.failed / counted.units)
                self._latency[arm].append(_mean_s(counted))
        self._ticks += 1
        if self.said is not Said.CONTINUE or self._ticks % self.interval_ticks:
            return self.said
        passed = [not self._is_high(*series) for series in (self._errors, self._latency)]
        if 100 * sum(passed) / len(passed) < self.marginal:
            self.said = Said.ROLLBACK
        elif self._ticks >= self.interval_ticks * self.count:
            self.said = Said.PROMOTE
        return self.said

    def _is_high(self, control: list[float], canary: list[float]) -> bool:
        if not control or not canary or control == canary:
            return False
        shifts = sorted(x - y for x in canary for y in control)
        pairs = len(shifts)
        # The interval of Hodges and Lehmann, by the normal approximation of the rank statistic.
        width = self.normal_quantile * math.sqrt(pairs * (len(canary) + len(control) + 1) / 12)
        low = shifts[max(math.floor(pairs / 2 - width), 0)]
        estimate = (shifts[(pairs - 1) // 2] + shifts[pairs // 2]) / 2
        return low > self.fraction * abs(estimate)


def _mean_s(counted: ArmTick) -> float:
    timed = sum(counted.latency.values())
    return sum(lower_bound_s(bucket) * count for bucket, count in counted.latency.items()) / timed if timed else 0.0
