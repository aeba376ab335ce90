"""Services of many kinds, from a seed, as a canary's judge sees them: both arms, tick by tick.

A service has weather that both arms share (load, error rate, latency), and a harm that the new code does. Each request
is drawn into an arm by itself; of a service with users either so, or each user for good, and then requests or users
are counted. `play` feeds a judge until it has decided.

    run = play(service(Kind.BURSTY, seed=7, harm=Harm(errors=0.04)), ticks=100)
"""

import itertools
import math
import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from homeostat_agent.canary.histogram import bucket_of

from homeostat.model.vitals import LATENCY_BOUNDS_MS, STRETCH_S, Stretch
from homeostat.rollout.canary import ArmTick, CanaryJudge, CanaryTick, CanaryVerdict, Promote, Rollback


class Kind(StrEnum):
    STEADY = "steady"
    DIURNAL = "diurnal"
    DRIFTING = "drifting"
    BURSTY = "bursty"
    HEAVY_TAILED = "heavy-tailed"
    SPARSE_ERRORS = "sparse errors"
    BIMODAL = "bimodal"
    SLOW_LEAK = "slow leak"
    QUIET = "quiet"
    USERS = "users"
    """Their requests differ from user to user; each is drawn by itself."""

    KEYED_USERS = "users by key"
    """A user keeps its arm, and counts once."""

    KEYED_REQUESTS = "users by key, requests counted"
    """A user keeps its arm, and each request counts: not what the judge asks for."""

    OWN_BURSTS = "bursts of one arm alone"
    """Each arm has bad ticks of its own: outside of what the judge can know to be chance."""

    SILENT = "no traffic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What the new code does to its requests."""

    errors: float = 0.0
    """Share of them that it makes fail, which would not have."""

    slower: float = 1.0
    """Factor on the latency of all."""

    tail: float = 0.0
    """Share of them that takes ten times as long."""

    split: float = 1.0
    """Half take so many times as long, the other half as many times less."""

    from_tick: int = 0
    grows_over: int = 0
    """Ticks that it takes to become whole; 0: at once."""

    leaks: float = 0.0
    """Part of the harm that the old code suffers as well, through what both share."""

    def at(self, tick: int) -> float:
        """Return how much of it is there."""
        if tick < self.from_tick:
            return 0.0
        return min((tick - self.from_tick + 1) / self.grows_over, 1.0) if self.grows_over else 1.0


NO_HARM = Harm()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weather:
    """Of one tick, for both arms."""

    units: float
    errors: float
    latency_s: Callable[[], float]


def service(
    kind: Kind, *, seed: int, units: float = 100, share: float = 0.1, errors: float = 0.01, harm: Harm = NO_HARM
) -> Iterator[CanaryTick]:
    """Tell both arms of a service without end, a second a tick; `units` a tick on average, `errors` without harm."""
    rng = random.Random(f"{kind} {seed}")  # noqa: S311 - a simulation
    if kind in (Kind.USERS, Kind.KEYED_USERS, Kind.KEYED_REQUESTS):
        yield from _Users(rng=rng, kind=kind, units=units, errors=errors, share=share, harm=harm).ticks()
        return
    for number, weather in enumerate(_weather(kind, rng, units, errors)):
        arms = (_Counting(), _Counting())
        for _ in range(_poisson(rng, weather[0].units)):
            ours = rng.random() < share
            now = weather[ours]
            failed, latency_s = _suffer(rng, rng.random() < now.errors, now.latency_s(), harm, number, ours=ours)
            arms[ours].add(failed, latency_s)
        yield CanaryTick(control=arms[0].tick(), canary=arms[1].tick(), share=share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a canary ended."""

    verdict: CanaryVerdict
    ticks: int
    canary_units: int


def whole_service(
    kind: Kind,
    *,
    seed: str,
    start: datetime,
    seconds: int,
    units: float = 5,
    errors: float = 0.01,
    harm: Harm = NO_HARM,
    day: float | None = None,
) -> Iterator[Stretch]:
    """Tell a service as its stored vitals show it, a second a tick; harm is everybody's.

    `day`: of a diurnal one the time of day at which it begins, 0 to 1, of a day of 24 hours.
    """
    rng = random.Random(f"{kind} {seed}")  # noqa: S311 - a simulation
    weather: Iterator[_Weather]
    if kind is Kind.DIURNAL and day is not None:
        weather = _diurnal(rng, units, errors, day=86_400, begins=day)
    else:
        weather = (both for both, _ in _weather(kind, rng, units, errors))
    for first in range(0, seconds, STRETCH_S):
        requests = failures = 0
        latency = [0] * (len(LATENCY_BOUNDS_MS) + 1)
        for number, now in zip(range(first, first + STRETCH_S), weather, strict=False):
            for _ in range(_poisson(rng, now.units)):
                failed, latency_s = _suffer(rng, rng.random() < now.errors, now.latency_s(), harm, number, ours=True)
                requests += 1
                failures += bool(failed)
                latency[bisect_left(LATENCY_BOUNDS_MS, latency_s * 1000)] += 1
        yield Stretch(
            start=start + timedelta(seconds=first),
            requests=requests,
            errors=failures,
            latency=tuple(latency),
            seconds=float(STRETCH_S),
            serves=True,
        )


def play(stream: Iterable[CanaryTick], *, ticks: int, judge: CanaryJudge | None = None, promote: bool = True) -> Run:
    """Feed a judge until it has decided, or has looked so often; without `promote` only a rollback ends it."""
    judge = judge or CanaryJudge()
    looked = 0
    for tick in itertools.islice(stream, ticks):
        looked += 1
        said = judge.feed(tick)
        if isinstance(said, Rollback) or (promote and isinstance(said, Promote)):
            break
    return Run(verdict=judge.verdict, ticks=looked, canary_units=judge.verdict.evidence.canary.units)


class _Counting:
    """One arm in one tick."""

    def __init__(self) -> None:
        self._units = 0
        self._failures: dict[str, int] = {}
        self._latency: dict[int, int] = {}

    def add(self, failed: str, latency_s: float) -> None:
        self._units += 1
        self.fail(failed)
        bucket = bucket_of(latency_s)
        self._latency[bucket] = self._latency.get(bucket, 0) + 1

    def fail(self, failed: str) -> None:
        if failed:
            self._failures[failed] = self._failures.get(failed, 0) + 1

    def tick(self, at_risk: int | None = None) -> ArmTick:
        return ArmTick(units=self._units, failures=self._failures, latency=self._latency, at_risk=at_risk)


def _suffer(
    rng: random.Random, failed: bool, latency_s: float, harm: Harm, tick: int, *, ours: bool
) -> tuple[str, float]:
    """Return what kind of failure a request has (none: empty) and how long it takes, with the harm that it suffers."""
    if harm is NO_HARM:
        return ("TimeoutError" if failed else ""), latency_s
    part = harm.at(tick) * (1.0 if ours else harm.leaks)
    if part and harm.errors and rng.random() < harm.errors * part:
        return "KeyError", latency_s
    if part:
        latency_s *= 1 + (harm.slower - 1) * part
        if harm.tail and rng.random() < harm.tail * part:
            latency_s *= 10
        if harm.split != 1:
            latency_s *= harm.split if rng.random() < 0.5 else 1 / harm.split
    return ("TimeoutError" if failed else ""), latency_s


def _poisson(rng: random.Random, mean: float) -> int:
    if mean > 60:
        return max(round(rng.gauss(mean, math.sqrt(mean))), 0)
    count, left = 0, math.exp(-mean)
    chance = rng.random()
    while chance > left:
        chance *= rng.random()
        count += 1
    return count


def _weather(kind: Kind, rng: random.Random, units: float, errors: float) -> Iterator[tuple[_Weather, _Weather]]:
    """Return the control's and the canary's weather of each tick: the same, but for one kind."""
    make = _WEATHER.get(kind, _steady)
    if kind is Kind.OWN_BURSTS:
        return zip(make(rng, units, errors), make(rng, units, errors), strict=True)
    return ((both, both) for both in make(rng, units, errors))


def _usual(rng: random.Random, scale_s: float = 0.05) -> Callable[[], float]:
    log = math.log(scale_s)
    return lambda: rng.lognormvariate(log, 0.5)


def _steady(rng: random.Random, units: float, errors: float) -> Iterator[_Weather]:
    return itertools.repeat(_Weather(units=units, errors=errors, latency_s=_usual(rng)))


def _diurnal(
    rng: random.Random, units: float, errors: float, *, day: int = 100, begins: float | None = None
) -> Iterator[_Weather]:
    """Load, errors and latency follow the day, of a hundred ticks; it begins at any time of it."""
    begins = rng.random() if begins is None else begins
    for tick in itertools.count():
        high = 1 + 0.8 * math.sin(2 * math.pi * (begins + tick / day))
        yield _Weather(units=units * high, errors=min(errors * high**2, 1.0), latency_s=_usual(rng, 0.05 * high))


def _drifting(rng: random.Random, units: float, errors: float) -> Iterator[_Weather]:
    rate, scale_s = errors, 0.05
    while True:
        rate = min(max(rate * rng.lognormvariate(0, 0.15), errors / 20), 0.5)
        scale_s = min(max(scale_s * rng.lognormvariate(0, 0.1), 0.001), 5.0)
        yield _Weather(units=units, errors=rate, latency_s=_usual(rng, scale_s))


def _bursty(rng: random.Random, units: float, errors: float) -> Iterator[_Weather]:
    """Calm, and storms of some ticks in which a dependency is down: many requests, errors and waiting."""
    storm = False
    while True:
        storm = rng.random() < (0.8 if storm else 0.05)
        if storm:
            yield _Weather(units=3 * units, errors=max(0.4, errors), latency_s=_usual(rng, 0.5))
        else:
            yield _Weather(units=units, errors=errors, latency_s=_usual(rng))


def _own_bursts(rng: random.Random, units: float, errors: float) -> Iterator[_Weather]:
    """One tick in twenty is bad."""
    while True:
        bad = rng.random() < 0.05
        yield _Weather(units=units, errors=max(0.3, errors) if bad else errors, latency_s=_usual(rng))


def _heavy_tailed(rng: random.Random, units: float, errors: float) -> Iterator[_Weather]:
    """Pareto's law with an exponent of 1.1: a mean, and no variance."""
    return itertools.repeat(_Weather(units=units, errors=errors, latency_s=lambda: 0.01 * rng.paretovariate(1.1)))


def _sparse_errors(rng: random.Random, units: float, errors: float) -> Iterator[_Weather]:
    return itertools.repeat(_Weather(units=units, errors=errors / 20, latency_s=_usual(rng)))


def _bimodal(rng: random.Random, units: float, errors: float) -> Iterator[_Weather]:
    """Answers from a cache, and others that take fifty times as long."""
    hit, miss = _usual(rng, 0.002), _usual(rng, 0.1)
    return itertools.repeat(
        _Weather(units=units, errors=errors, latency_s=lambda: hit() if rng.random() < 0.8 else miss())
    )


def _slow_leak(rng: random.Random, units: float, errors: float) -> Iterator[_Weather]:
    """Memory runs out, whichever code runs: ever slower, and ever more errors."""
    for tick in itertools.count():
        worse = 1 + tick / 50
        yield _Weather(units=units, errors=min(errors * worse**2, 1.0), latency_s=_usual(rng, 0.05 * worse))


def _quiet(rng: random.Random, units: float, errors: float) -> Iterator[_Weather]:
    return _steady(rng, min(units, 3.0), errors)


def _silent(rng: random.Random, units: float, errors: float) -> Iterator[_Weather]:
    return _steady(rng, 0.0, errors)


_WEATHER: dict[Kind, Callable[[random.Random, float, float], Iterator[_Weather]]] = {
    Kind.DIURNAL: _diurnal,
    Kind.DRIFTING: _drifting,
    Kind.BURSTY: _bursty,
    Kind.OWN_BURSTS: _own_bursts,
    Kind.HEAVY_TAILED: _heavy_tailed,
    Kind.SPARSE_ERRORS: _sparse_errors,
    Kind.BIMODAL: _bimodal,
    Kind.SLOW_LEAK: _slow_leak,
    Kind.QUIET: _quiet,
    Kind.SILENT: _silent,
}


@dataclass(slots=True)
class _User:
    weight: float
    errors: float
    scale_s: float
    ours: bool
    seen: bool = False
    failed: bool = False


@dataclass(kw_only=True)
class _Users:
    """Users of very different habit: few send most requests, and a fiftieth are broken and fail nearly always."""

    rng: random.Random
    kind: Kind
    units: float
    errors: float
    share: float
    harm: Harm
    _all: list[_User] = field(default_factory=list)

    def ticks(self) -> Iterator[CanaryTick]:
        self._all = [self._user() for _ in range(max(round(self.units * 20), 1))]
        weights = list(itertools.accumulate(user.weight for user in self._all))
        by_key = self.kind is Kind.KEYED_USERS
        at_risk = [0, 0]
        for number in itertools.count():
            arms = (_Counting(), _Counting())
            newly_failed = [0, 0]
            for user in self.rng.choices(self._all, cum_weights=weights, k=_poisson(self.rng, self.units)):
                ours = self.rng.random() < self.share if self.kind is Kind.USERS else user.ours
                failed, latency_s = self._request(user, number, ours=ours)
                if not by_key:
                    arms[ours].add(failed, latency_s)
                    continue
                if not user.seen:
                    user.seen = True
                    at_risk[ours] += 1
                    arms[ours].add("", latency_s)
                if failed and not user.failed:
                    user.failed = True
                    newly_failed[ours] += 1
                    arms[ours].fail(failed)
            control, canary = (arms[arm].tick(at_risk[arm] if by_key else None) for arm in (0, 1))
            at_risk = [at_risk[arm] - newly_failed[arm] for arm in (0, 1)]
            share = None if self.kind is Kind.KEYED_REQUESTS else self.share
            yield CanaryTick(control=control, canary=canary, share=share)

    def _request(self, user: _User, number: int, *, ours: bool) -> tuple[str, float]:
        latency_s = self.rng.lognormvariate(math.log(user.scale_s), 0.3)
        return _suffer(self.rng, self.rng.random() < user.errors, latency_s, self.harm, number, ours=ours)

    def _user(self) -> _User:
        rng = self.rng
        return _User(
            weight=rng.paretovariate(1.2),
            errors=0.9 if rng.random() < 0.02 else self.errors,
            scale_s=rng.lognormvariate(math.log(0.05), 0.7),
            ours=rng.random() < self.share,
        )
