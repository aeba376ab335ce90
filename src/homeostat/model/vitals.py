"""Vitals of a host process, as counted over one short interval."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteVitals:
    """Requests of one route within an interval. A request that raised or answered 5xx is an error."""

    requests: int
    errors: int
    latency_ms_sum: float
    latency_ms_buckets: tuple[int, ...]
    """Counts below the bounds of `LATENCY_BOUNDS_MS`, and one more for what is above the last."""


LATENCY_BOUNDS_MS: tuple[float, ...] = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


UNATTESTED = "otlp:"
"""How the process id of a tick begins that anybody with a token sent, and no agent that proved its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VitalsTick:
    """What one process counted between `start` and `end`. Missing values are None, never zero."""

    process_id: str
    start: datetime
    end: datetime
    routes: Mapping[str, RouteVitals]
    errors_logged: int
    """Log records of ERROR and above, and uncaught exceptions."""

    loop_lag_ms_max: float | None = None
    cpu_percent: float | None = None
    memory_bytes: int | None = None
    dropped: int = 0
    """Telemetry that the agent had to drop since it started."""

    generation: int = 0
    """How often the code of this process had been exchanged, by a swap or a rollback, when the interval ended."""

    serves: bool = False
    """Whether requests to this process are counted, though none may have come: a service, and no worker."""

    @property
    def attested(self) -> bool:
        """Whether an agent that proved its key told it. Only then may it decide on a change."""
        return not self.process_id.startswith(UNATTESTED)

    @property
    def length_s(self) -> float:
        return max((self.end - self.start).total_seconds(), 0.0)

    @property
    def error_seconds(self) -> int:
        """How many of its seconds had an error, in a request or in the log: at most as many as errors."""
        return min(max(self.errors_logged, self.errors), max(round(self.length_s), 1))

    @property
    def requests(self) -> int:
        return sum(route.requests for route in self.routes.values())

    @property
    def errors(self) -> int:
        return sum(route.errors for route in self.routes.values())


STRETCH_S = 15
"""Seconds of the service that are added up over all processes, and kept for longer than single ticks are read."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LENGTH = timedelta(seconds=STRETCH_S)
_NO_LATENCIES = (0,) * (len(LATENCY_BOUNDS_MS) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What all attested processes together counted in the ticks that ended in (start, start + `STRETCH_S`]."""

    start: datetime
    """A whole multiple of `STRETCH_S` since 1970."""

    requests: int = 0
    errors: int = 0
    latency: tuple[int, ...] = _NO_LATENCIES
    """As `RouteVitals.latency_ms_buckets`; what was told without them is in `requests` only."""

    seconds: float = 0.0
    """Of the processes' lives that were watched."""

    error_seconds: int = 0
    serves: bool = False

    @property
    def end(self) -> datetime:
        return self.start + _LENGTH


def stretches_of(ticks: Iterable[VitalsTick]) -> dict[datetime, Stretch]:
    """Add up attested ticks by the stretch in which they ended."""
    found: dict[datetime, Stretch] = {}
    for tick in ticks:
        if tick.attested:
            start = stretch_start(tick.end)
            found[start] = together(found.get(start, Stretch(start=start)), _stretch_of(tick, start))
    return found


def stretch_start(end: datetime) -> datetime:
    """Return where the stretch begins in which something ended."""
    return _EPOCH + -((_EPOCH - end) // _LENGTH) * _LENGTH - _LENGTH


def together(one: Stretch, other: Stretch) -> Stretch:
    """Add what both counted; the first one's start."""
    return replace(
        one,
        requests=one.requests + other.requests,
        errors=one.errors + other.errors,
        latency=tuple(a + b for a, b in zip(one.latency, other.latency, strict=True)),
        seconds=one.seconds + other.seconds,
        error_seconds=one.error_seconds + other.error_seconds,
        serves=one.serves or other.serves,
    )


def _stretch_of(tick: VitalsTick, start: datetime) -> Stretch:
    latency = list(_NO_LATENCIES)
    for route in tick.routes.values():
        for index, count in enumerate(route.latency_ms_buckets[: len(latency)]):
            latency[index] += count
    return Stretch(
        start=start,
        requests=tick.requests,
        errors=tick.errors,
        latency=tuple(latency),
        seconds=tick.length_s,
        error_seconds=tick.error_seconds,
        serves=tick.serves,
    )
