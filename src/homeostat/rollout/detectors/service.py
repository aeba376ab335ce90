"""The whole service before a change and since: how healthy it was, minute by minute.

*Health* is the share of requests that neither failed nor were slow, as (1 - failed) x (1 - slow). Slow is
what takes longer than the objective; where there is none, longer than 99 of 100 requests took before the change (the
hour before, or the same hours of the day before, whichever was slower). Where no requests are counted the unit is a
second of a process's life, with or without an error.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

import msgspec

from homeostat.model.settings import DetectorSettings
from homeostat.model.vitals import LATENCY_BOUNDS_MS, STRETCH_S, Stretch
from homeostat.rollout.arms import Count

USUAL_QUANTILE = 0.99
_POOLED = 60 // STRETCH_S
_MOST_POOLED = 300 // STRETCH_S
SPACING = 0.2
"""Of the rates that evidence against a limit bets on: a fifth more than it allows is confirmed in the end."""

SILENT_S = 120.0
"""After so long without enough requests what was seen last is not the present any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What detectors look at. All stretches are over, oldest first, and those that were not watched are missing."""

    before: Sequence[Stretch] = ()
    """The hour before the change."""

    day_ago: Sequence[Stretch] = ()
    """The same hours of the day before."""

    after: Sequence[Stretch]
    steps: Sequence[datetime]
    """When calls began to run the change, and when more of them did; oldest first, at least one."""

    now: datetime
    reach_s: float
    """How long after a step harm may begin that is the change's."""


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted in some stretches, in the unit that the service is judged in."""

    units: float = 0
    failures: int = 0
    timed: int = 0
    """Requests whose latency is known."""

    slow: int = 0

    @property
    def availability(self) -> float:
        return 1 - self.failures / self.units if self.units else 1.0

    @property
    def quick(self) -> float:
        return 1 - self.slow / self.timed if self.timed else 1.0

    @property
    def health(self) -> float:
        return self.availability * self.quick

    @property
    def count(self) -> Count:
        units = math.floor(self.units)
        return Count(units=units, failures=min(self.failures, units))

    def __add__(self, other: "Pool") -> "Pool":
        return Pool(
            units=self.units + other.units,
            failures=self.failures + other.failures,
            timed=self.timed + other.timed,
            slow=self.slow + other.slow,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """The service over the last minute, at the end of a stretch; over more of it where few requests come."""

    start: datetime
    """Of its last stretch."""

    last: Pool
    """That stretch alone."""

    pool: Pool | None
    """None: too few requests in five minutes."""

    seconds: int
    """From the beginning of the first stretch that is pooled to the end of the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardstick:
    """How the stretches of one service are counted."""

    by_requests: bool
    slow_from: int
    """Index of the first bucket of slow requests."""

    @property
    def slow_above_ms(self) -> float | None:
        """What a slow request takes longer than; None where none is slow."""
        index = self.slow_from - 1
        return LATENCY_BOUNDS_MS[index] if self.by_requests and index < len(LATENCY_BOUNDS_MS) else None

    def pool(self, stretch: Stretch) -> Pool:
        if not self.by_requests:
            return Pool(units=stretch.seconds, failures=stretch.error_seconds)
        return Pool(
            units=stretch.requests,
            failures=min(stretch.errors, stretch.requests),
            timed=sum(stretch.latency),
            slow=sum(stretch.latency[self.slow_from :]),
        )

    def total(self, stretches: Iterable[Stretch]) -> Pool:
        return sum(map(self.pool, stretches), Pool())

    def minutes(self, stretches: Sequence[Stretch], *, least: int) -> list[Minute]:
        """Return the service at the end of each stretch, in a minute or what it takes to have `least` units."""
        pools = [self.pool(item) for item in stretches]
        places = [round(item.start.timestamp()) // STRETCH_S for item in stretches]
        found = []
        for index, item in enumerate(stretches):
            pool, known, pooled = Pool(), False, 0
            for back in range(index, -1, -1):
                age = places[index] - places[back]
                if age >= _MOST_POOLED or (known and age >= _POOLED):
                    break
                pool, pooled = pool + pools[back], age + 1
                known = pool.units >= least
            whole = pool if known else None
            found.append(Minute(start=item.start, last=pools[index], pool=whole, seconds=pooled * STRETCH_S))
        return found

    def rates(self, stretches: Iterable[Stretch], *, least: int) -> list[tuple[datetime, float]]:
        """Return the rate of failures in one stretch after the other, of several where one has too few units."""
        pool, found = Pool(), []
        for item in stretches:
            pool += self.pool(item)
            if pool.units >= least:
                found.append((item.start, pool.count.rate))
                pool = Pool()
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A reference, counted: the hour before, or the same hours of the day before."""

    total: Pool
    minutes: Sequence[Minute]
    rates: Sequence[float]
    """Of its stretches, in order of size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A view, counted."""

    view: View
    yardstick: Yardstick
    settings: DetectorSettings
    unknown: str
    """Why there is no reference; empty where there is one."""

    after: Sequence[Minute]
    past: "tuple[Past, ...]"
    """The references, counted."""

    @property
    def what(self) -> str:
        return "requests" if self.yardstick.by_requests else "seconds"

    @property
    def present(self) -> Minute | None:
        """The last minute since the change of which something is known, also where that is long ago."""
        return next((minute for minute in reversed(self.after) if minute.pool is not None), None)

    def silent_s(self) -> float:
        """Return for how long there have been too few requests to tell how it fares."""
        present = self.present
        since = self.view.steps[0] if present is None else present.start + timedelta(seconds=STRETCH_S)
        return (self.view.now - since).total_seconds()

    def belongs(self, since: datetime, *, within_s: float) -> bool:
        """Tell whether what began then may be this change's: so soon after one of its steps."""
        # What began in the stretch of a step may have begun after it.
        return any(
            step - timedelta(seconds=STRETCH_S) <= since <= step + timedelta(seconds=within_s)
            for step in self.view.steps
        )


def count_service(view: View, settings: DetectorSettings) -> Service:
    """Bring a view into the unit and the bounds that its service is judged by."""
    everything = (*view.before, *view.day_ago, *view.after)
    by_requests = any(item.serves or item.requests for item in everything)
    usual = Yardstick(by_requests=by_requests, slow_from=len(LATENCY_BOUNDS_MS) + 1)
    references = tuple(
        stretches
        for stretches in (view.before, view.day_ago)
        if len(stretches) * STRETCH_S >= settings.baseline_s and usual.total(stretches).units >= settings.min_requests
    )
    unknown = "" if references else "too little was seen before the change to compare with"
    yardstick = Yardstick(by_requests=by_requests, slow_from=_slow_from(references, settings))
    return Service(
        view=view,
        yardstick=yardstick,
        settings=settings,
        unknown=unknown,
        after=yardstick.minutes(view.after, least=settings.min_requests),
        past=tuple(_past(yardstick, stretches, settings) for stretches in references),
    )


def _past(yardstick: Yardstick, stretches: Sequence[Stretch], settings: DetectorSettings) -> Past:
    return Past(
        total=yardstick.total(stretches),
        minutes=yardstick.minutes(stretches, least=settings.min_requests),
        rates=sorted(rate for _, rate in yardstick.rates(stretches, least=settings.min_requests)),
    )


def objective_bucket(latency_ms: float) -> int:
    """Return the index of the first bucket that is slower than an objective, which is rounded up to a bound."""
    return next(index for index, bound in enumerate(LATENCY_BOUNDS_MS) if bound >= latency_ms) + 1


def _slow_from(references: Iterable[Sequence[Stretch]], settings: DetectorSettings) -> int:
    if settings.slo_latency_ms:
        return objective_bucket(settings.slo_latency_ms)
    found = []
    for stretches in references:
        counts = [sum(column) for column in zip(*(item.latency for item in stretches), strict=True)]
        wanted = USUAL_QUANTILE * sum(counts)
        if wanted:
            found.append(next(index for index, below in enumerate(accumulate(counts)) if below >= wanted) + 1)
    # Nothing is slow where it is not known what is usual.
    return max(found, default=len(LATENCY_BOUNDS_MS) + 1)
