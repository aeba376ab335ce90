"""How long a harmless change will take to be promoted, said before it begins."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from homeostat.model.canary import ArmTick
from homeostat.rollout.arms import Count
from homeostat.rollout.canary.harm import Past, above
from homeostat.rollout.canary.margins import FAILURES, expected_rates, shift_of
from homeostat.rollout.canary.settings import JudgeSettings, Quantile
from homeostat.rollout.sequential import divergence
from homeostat.rollout.wagers import KEPT_BACK, SHARES, exposure_gains, nearest_rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """When a change that does no harm is expected to be promoted, in one step."""

    seconds: float
    """Infinite where it never is."""

    canary_units: float
    waits_for: str
    """What takes longest: `failures`, a quantile, or `units`, of which there must be a least number."""

    reason: str

    @property
    def reachable(self) -> bool:
        return math.isfinite(self.seconds)


def time_to_promote(
    seen: ArmTick, *, units_per_s: float, share: float, settings: JudgeSettings | None = None
) -> Forecast:
    """Forecast a step with this share of the traffic, from what the service did so far, all of it counted in `seen`.

    It is what a wager wins on average in a second, held against what it must win; half of the canaries take less, and
    few more than twice as long. Without latencies in `seen` nothing is said of them.
    """
    settings = settings or JudgeSettings()
    if units_per_s <= 0 or not 0 < share < 1:
        what = "there is no traffic" if units_per_s <= 0 else "one arm would have no units"
        return Forecast(seconds=math.inf, canary_units=math.inf, waits_for="units", reason=f"never: {what}")
    ours, theirs = units_per_s * share, units_per_s * (1 - share)
    takes_s = {"units": settings.promote_units / min(ours, theirs)}
    takes_s[FAILURES] = _failures_s(seen, ours, theirs, settings)
    if seen.latency:
        for quantile in settings.quantiles:
            takes_s[quantile.name] = _latency_s(seen.latency, quantile, ours, theirs, settings)
    longest = max(takes_s, key=lambda name: takes_s[name])
    seconds = takes_s[longest]
    return Forecast(
        seconds=seconds,
        canary_units=seconds * ours,
        waits_for=longest,
        reason=_told(longest, seconds, ours, settings),
    )


def _failures_s(seen: ArmTick, ours: float, theirs: float, settings: JudgeSettings) -> float:
    known = Count(units=seen.exposed, failures=seen.failed)
    _, rate = expected_rates(known, Count(units=0, failures=0))
    canary, control = nearest_rates((rate, ours), (rate, theirs), margin=settings.rise_margin)
    return _over(
        -math.log(settings.false_promotion) - math.log1p(-KEPT_BACK),
        ours * divergence(rate, canary) + theirs * divergence(rate, control),
    )


def _latency_s(
    latency: Mapping[int, int], quantile: Quantile, ours: float, theirs: float, settings: JudgeSettings
) -> float:
    past = Past()
    past.add(latency)
    (at,) = past.quantiles((quantile.at,))
    if at is None:
        return math.inf
    timed = sum(latency.values())
    beyond, within_margin = above(latency, at) / timed, above(latency, at + shift_of(quantile)) / timed
    hits, theirs_hit = ours * within_margin + theirs * beyond, theirs * beyond
    gains = exposure_gains(theirs, ours, hits, theirs_hit, tolerated=1.0)
    return past.least_known(quantile.at) / theirs + min(
        _over(-math.log(settings.false_promotion) - math.log(part * (1 - KEPT_BACK)), gain)
        for part, gain in zip(SHARES, gains, strict=True)
    )


def _over(needed: float, a_second: float) -> float:
    return needed / a_second if a_second > 1e-12 else math.inf


def _told(waits_for: str, seconds: float, ours: float, settings: JudgeSettings) -> str:
    if not math.isfinite(seconds):
        return f"never: {waits_for} cannot be shown to be within its margin from what was seen of this service"
    said = f"about {seconds:,.0f} s, {seconds * ours:,.0f} units with the change; longest takes {waits_for}"
    if seconds > settings.horizon_s:
        return f"not within {settings.horizon_s:,.0f} s: {said}"
    return said
