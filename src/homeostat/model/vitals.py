"""Vitals of a host process, as counted over one short interval."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


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
    def requests(self) -> int:
        return sum(route.requests for route in self.routes.values())

    @property
    def errors(self) -> int:
        return sum(route.errors for route in self.routes.values())
