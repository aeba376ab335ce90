"""What was counted on one side of a change: over all processes, and for each of them.

INVARIANT: only what an agent told counts. A bot may send telemetry, and would otherwise decide which
changes are taken back and which did well, its own among them.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from homeostat.model.vitals import VitalsTick


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What was counted on one side of the change, over all processes."""

    requests: int
    errors: int
    """Requests that raised or answered 5xx."""

    seconds: float
    """Seconds of a process's life that were watched."""

    error_seconds: int
    """How many of them had an error, in a request or in the log."""

    serves: bool = False
    """Whether requests of it are counted, though none may have come: a server's agent says so."""

    parts: Mapping[str, "Arm"] = field(default_factory=dict)
    """The same for each process, by its id; empty where they are not told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Units, and how many of them failed."""

    units: int
    failures: int

    @property
    def rate(self) -> float:
        return self.failures / self.units if self.units else 0.0


def serves(*arms: Arm) -> bool:
    """Tell whether requests are the unit. Then time that passes is no evidence: one that is stuck has nothing else."""
    return any(arm.serves or arm.requests > 0 for arm in arms)


def count(arm: Arm, *, by_requests: bool) -> Count:
    """Return what is judged of an arm: its requests, or its seconds with or without an error."""
    units = arm.requests if by_requests else math.floor(arm.seconds)
    return Count(units=units, failures=min(arm.errors if by_requests else arm.error_seconds, units))


def arm_of(ticks: Iterable[VitalsTick]) -> Arm:
    """Add up the ticks of one side. A tick of several seconds has at most as many error seconds as errors."""
    parts: dict[str, Arm] = {}
    for tick in ticks:
        if tick.attested:
            one = _arm_of_tick(tick)
            known = parts.get(tick.process_id)
            parts[tick.process_id] = one if known is None else _sum((known, one))
    return replace(_sum(parts.values()), parts=parts)


def _arm_of_tick(tick: VitalsTick) -> Arm:
    return Arm(
        requests=tick.requests,
        errors=tick.errors,
        seconds=tick.length_s,
        error_seconds=tick.error_seconds,
        serves=tick.serves,
    )


def _sum(arms: Iterable[Arm]) -> Arm:
    arms = tuple(arms)
    return Arm(
        requests=sum(arm.requests for arm in arms),
        errors=sum(arm.errors for arm in arms),
        seconds=sum(arm.seconds for arm in arms),
        error_seconds=sum(arm.error_seconds for arm in arms),
        serves=any(arm.serves for arm in arms),
    )


def watched_time_s(ticks: Iterable[VitalsTick]) -> float:
    """Return for how many seconds at least one process was watched by its agent: what overlaps counts once.

    It is the measure of a window that no clock can stretch: each tick is as long as its process says,
    by a clock of its own that is never set.
    """
    total_s = 0.0
    until: datetime | None = None
    for tick in sorted((item for item in ticks if item.attested), key=lambda item: item.start):
        start = tick.start if until is None else max(tick.start, until)
        if tick.end > start:
            total_s += (tick.end - start).total_seconds()
            until = tick.end
    return total_s
