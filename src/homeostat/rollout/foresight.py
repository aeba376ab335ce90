"""What will happen when a change is applied, and how long it will take: said before anything moves.

Nothing here decides. `homeostat.flows.applying` goes by the same plan and settings later, and each process
looks for itself once more.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from homeostat_agent.canary.histogram import bucket_of
from homeostat_agent.reload.plan import routing_obstacles

from homeostat.model.change import TreeChange
from homeostat.model.process import HostProcess
from homeostat.model.settings import CanarySettings, Settings
from homeostat.model.vitals import LATENCY_BOUNDS_MS, VitalsTick
from homeostat.rollout.arms import watched_time_s
from homeostat.rollout.canary import ArmTick, Forecast, time_to_promote
from homeostat.rollout.canary.arms import UNNAMED
from homeostat.rollout.course import judged_by, quickest
from homeostat.rollout.live import LivePlan, plan_change, read_at_start
from homeostat.rollout.shadow import ShadowPlan, plan_shadow


class Way(StrEnum):
    """How a change reaches the running processes."""

    NOT_LOADED = "not_loaded"
    """No running process has it to do with; branch and files are all there is."""

    SHARE = "share"
    """A share of the calls first, then larger ones, then all."""

    AT_ONCE = "at_once"
    """All calls at once."""

    RESTART = "restart"
    """On disk at once, and live when the program was restarted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What the service did lately."""

    seen: ArmTick
    seconds: float
    """For how long it was watched."""

    @property
    def units_per_s(self) -> float:
        return self.seen.units / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One share of the calls."""

    percent: int
    at_least_s: float
    forecast: Forecast
    decides: bool
    """Whether that is expected within the time after which a person is asked."""

    @property
    def expected_s(self) -> float:
        """Return how long the step is expected to take; infinite when it holds and asks."""
        return max(self.at_least_s, self.forecast.seconds) if self.decides else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """What applying a change now would do."""

    live: LivePlan
    way: Way
    reason: str
    """Why it goes this way."""

    read_at_start: tuple[str, ...]
    shadow: ShadowPlan
    """What runs on copies before the first share; where there is no canary, nothing does."""

    steps: tuple[Step, ...]
    """Of a canary, in order; empty where there is none."""

    traffic: Traffic
    window_s: float
    """How long it is watched when all calls run it."""

    refused: str = ""
    """Why applying it would be refused as things stand; empty where it would not."""

    stale: tuple[str, ...] = ()
    """Processes that may run older code of its files than the disk has, and may need a restart for that."""

    @property
    def canary_s(self) -> float:
        """Return how long all steps are expected to take; infinite when one of them holds and asks.

        What runs on copies first takes as long as a step at the least: how often it is called is not known.
        """
        shadow_s = self.steps[0].at_least_s if self.shadow.functions and self.steps else 0.0
        return shadow_s + sum(step.expected_s for step in self.steps)


def foresee(
    change: TreeChange, *, processes: Sequence[HostProcess], lately: Iterable[VitalsTick], settings: Settings
) -> Foresight:
    """Say what applying this change would do with these processes, and at the traffic that was seen lately."""
    live = plan_change(change, mode=settings.hmr.mode)
    way, reason = _way(live, processes, settings)
    traffic = traffic_of(lately, settings.canary)
    steps = settings.canary.steps if way is Way.SHARE else ()
    shadow = plan_shadow(change, live, settings.canary) if steps else ShadowPlan(functions=(), left_out={})
    return Foresight(
        live=live,
        way=way,
        reason=reason,
        read_at_start=read_at_start(change),
        shadow=shadow,
        steps=tuple(_step(percent, traffic, settings.canary) for percent in steps),
        traffic=traffic,
        window_s=settings.observation.window_s,
    )


def traffic_of(ticks: Iterable[VitalsTick], settings: CanarySettings) -> Traffic:
    """Add up what the agents counted, as a canary would count it. A bot's telemetry does not count."""
    told = [tick for tick in ticks if tick.attested]
    requests, failed, quickest_bucket = 0, 0, quickest(settings)
    latency: dict[int, int] = {}
    for route in (route for tick in told for route in tick.routes.values()):
        requests += route.requests
        failed += route.errors
        for index, units in enumerate(route.latency_ms_buckets):
            for bucket, part in _spread(units, index):
                bucket = max(bucket, quickest_bucket)
                latency[bucket] = latency.get(bucket, 0) + part
    units = max(requests, failed, sum(latency.values()))
    seen = ArmTick(units=units, failures={UNNAMED: failed} if failed else {}, latency=latency)
    return Traffic(seen=seen, seconds=watched_time_s(told))


def _way(live: LivePlan, processes: Sequence[HostProcess], settings: Settings) -> tuple[Way, str]:
    if not live.needs_live:
        return Way.NOT_LOADED, "no running process loads the changed files"
    if not settings.hmr.enabled:
        return Way.RESTART, "hot module reload is disabled (`hmr.enabled`)"
    if live.restart_reasons:
        return Way.RESTART, "; ".join(live.restart_reasons)
    if not processes:
        return Way.RESTART, "no running process is attached"
    lost = "; ".join(f"process {item.pid} cannot be reached" for item in processes if not item.connected)
    for process in processes:
        if process.connected and not process.hmr_enabled:
            return Way.RESTART, f"process {process.pid} has hot module reload disabled"
    obstacles = routing_obstacles(live.modules)
    if not settings.canary.steps or obstacles:
        # All or none: what goes live at once goes live in every process that is listed.
        if lost:
            return Way.RESTART, lost
        if not settings.canary.steps:
            return Way.AT_ONCE, "no shares of the calls are set (`canary.steps`)"
        return Way.AT_ONCE, f"it cannot be tried on a share of the calls: {'; '.join(obstacles)}"
    if lost and not any(item.connected for item in processes):
        return Way.SHARE, f"it waits until one of the processes answers: {lost}"
    if lost:
        return Way.SHARE, f"tried on a share of the calls of those that answer, and of others when they do: {lost}"
    return Way.SHARE, "everything that changed can be tried on a share of the calls, as far as the sources tell"


def _step(percent: int, traffic: Traffic, settings: CanarySettings) -> Step:
    forecast = time_to_promote(
        traffic.seen, units_per_s=traffic.units_per_s, share=percent / 100, settings=judged_by(settings)
    )
    return Step(
        percent=percent,
        at_least_s=settings.step_s,
        forecast=forecast,
        decides=forecast.reachable and forecast.seconds <= settings.max_s,
    )


def _spread(units: int, index: int) -> Iterable[tuple[int, int]]:
    """Spread what was counted between two bounds evenly over the finer buckets of a canary that lie between them."""
    bounds = LATENCY_BOUNDS_MS
    low = bounds[index - 1] if index else bounds[0] / 2
    high = bounds[index] if index < len(bounds) else bounds[-1] * 2
    first, last = bucket_of(low / 1000), bucket_of(high / 1000)
    parts = max(last - first, 1)
    for at in range(parts if units else 0):
        part = units * (at + 1) // parts - units * at // parts
        if part:
            yield first + at, part
