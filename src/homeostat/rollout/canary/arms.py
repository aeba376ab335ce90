"""What the two arms of a canary counted in one tick, and what a judge remembers of it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from homeostat.core.errors import InvalidInput
from homeostat.model.canary import ArmTick, check_same_units
from homeostat.model.latency import buckets_of
from homeostat.rollout.arms import Count

UNNAMED = "failure"
"""The type of failures that were only counted."""


def arm_tick(
    *,
    units: int | None = None,
    failures: int | Mapping[str, int] = 0,
    latencies_ms: Iterable[float] | None = None,
    latencies_s: Iterable[float] | None = None,
) -> ArmTick:
    """Make a tick of plain numbers: `units` may be left out where every unit has a latency."""
    if latencies_ms is not None and latencies_s is not None:
        raise InvalidInput("bad-tick", "latencies are given in milliseconds and in seconds")
    seconds = [one / 1000 for one in latencies_ms] if latencies_ms is not None else list(latencies_s or ())
    if any(math.isnan(one) or one < 0 for one in seconds):
        raise InvalidInput("bad-tick", "a latency is negative or not a number")
    named = {UNNAMED: failures} if isinstance(failures, int) else dict(failures)
    return ArmTick(
        units=len(seconds) if units is None else units,
        failures={name: count for name, count in named.items() if count},
        latency=buckets_of(seconds),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryTick:
    """Both arms in one tick: what a judge is fed with, and rebuilt from."""

    control: ArmTick
    canary: ArmTick
    share: float | None = None
    """Planned share of the units that run the new code; None: not known, so it is not checked."""

    seconds: float = 1.0
    """How long the tick was."""

    def __post_init__(self) -> None:
        check_same_units(self.control, self.canary)
        if self.share is not None and not 0 <= self.share <= 1:
            raise InvalidInput("bad-tick", f"a share of {self.share}")
        if not 0 <= self.seconds < math.inf:
            raise InvalidInput("bad-tick", f"a tick of {self.seconds} seconds")


def together(ticks: Iterable[ArmTick]) -> ArmTick:
    """Add up what one arm counted in several processes, or seconds; with keys, each process has its own."""
    all_ticks = tuple(ticks)
    whole = Tally()
    for tick in all_ticks:
        whole.add(tick)
    at_risk = [tick.at_risk for tick in all_ticks if tick.at_risk is not None]
    if at_risk and len(at_risk) < len(all_ticks):
        raise InvalidInput("bad-tick", "one process counts keys and another does not")
    return ArmTick(
        units=whole.units,
        failures=whole.failures,
        latency=whole.latency,
        at_risk=sum(at_risk) if at_risk else None,
    )


@dataclass(slots=True, kw_only=True)
class Tally:
    """One arm added up, over a stretch of ticks."""

    units: int = 0
    exposed: int = 0
    """Units that could have failed. Of keys it is the last number, as one key is at risk in many ticks."""

    failures: dict[str, int] = field(default_factory=dict)
    latency: dict[int, int] = field(default_factory=dict)

    def add(self, tick: ArmTick) -> None:
        self.units += tick.units
        self.exposed = self.exposed + tick.units if tick.at_risk is None else tick.at_risk
        for name, count in tick.failures.items():
            self.failures[name] = self.failures.get(name, 0) + count
        for bucket, count in tick.latency.items():
            self.latency[bucket] = self.latency.get(bucket, 0) + count

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    @property
    def count(self) -> Count:
        """Units and failures; a key that failed after the tick that it was counted in is among both."""
        return Count(units=self.units, failures=min(self.failed, self.units))
