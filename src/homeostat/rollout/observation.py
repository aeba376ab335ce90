"""The judge of the time after a change went live: worse, well, or not known.

The unit is a request where the host serves requests, else a second with or without an error. It says:

- `Worse` as soon as the failures after the change cannot be explained by the tolerated rate. That is
  the largest of: an upper confidence bound of the rate before the change, that rate with the tolerated
  rise, and `LEAST_TOLERATED`. The setting `false_rollback` is shared by the bound and the test, so it
  covers the whole watch however often it is asked.
- `Well` only after the window, when it was watched, with enough units, no more failures than is
  acceptable, and (where the change claims to fix a finding) with that symptom confirmed gone or rarer.
- `Hold` after the window where the evidence is not enough. Silence is never health: the commonest cause
  of no errors is a program that no longer answers.
- `Continue` until then.

It counts failures only: how long requests take is not judged here, and units are taken to fail
independently of each other.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from homeostat.model.settings import ObservationSettings
from homeostat.model.vitals import VitalsTick
from homeostat.rollout.sequential import chance_of_so_few, e_value, upper_bound

LEAST_TOLERATED = 0.005
"""Failures per unit that are never called worse, also where there were none before."""

LEAST_FAILURES = 3
"""Fewer failures than this are never called worse."""

UNKNOWN_TOLERATED = 0.5
"""What is tolerated where nothing at all was seen before the change."""

_PLAUSIBLE = 0.1
"""`Well` accepts a rate that the time before the change does not exclude at this level."""

GONE_ALPHA = 0.05
RARER_ALPHA = 0.01
"""Stricter, because this one, unlike `GONE_ALPHA`, is not immune to being asked again and again."""

LEAST_WATCHED = 0.9
"""Share of the window that must have been watched: a tick that was lost holds nothing up."""

LEAST_TRAFFIC = 0.1
"""Requests per second after the change, relative to before, below which the host may be stuck."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """Occurrences of the finding that the change claims to fix, on both sides."""

    baseline_occurrences: int
    baseline: Arm
    after_occurrences: int
    after: Arm


@dataclass(frozen=True, slots=True, kw_only=True)
class SymptomVerdict:
    """What the evidence says of the symptom: gone, rarer, or neither."""

    gone: bool
    rarer: bool
    """It occurs still, but confirmed less often."""

    chance: float
    """Of seeing so few occurrences had nothing changed; at most."""

    rate_before: float
    rate_after: float
    units_needed: int
    """Units after the change, without one occurrence, from which on it counts as gone; 0: never."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    reason: str
    e_value: float
    """Evidence that the rate is above the tolerated one; `Worse` at 2 / `false_rollback`."""

    rate_before: float
    rate_after: float
    tolerated: float
    units: int
    """After the change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Continue(_Judged):
    """The window is not over, and nothing speaks against the change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worse(_Judged):
    """Take it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Well(_Judged):
    """The change did what it should, as far as failures show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(_Judged):
    """The window is over, and it is not known. More evidence may still settle it."""


Judgement: TypeAlias = Continue | Worse | Well | Hold


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


def arm_of(ticks: Iterable[VitalsTick]) -> Arm:
    """Add up the ticks of one side. A tick of several seconds has at most as many error seconds as errors.

    INVARIANT: only what an agent told counts. A bot may send telemetry, and would otherwise decide which
    changes are taken back and which did well, its own among them.
    """
    requests = errors = error_seconds = 0
    seconds = 0.0
    for tick in ticks:
        if not tick.attested:
            continue
        length_s = max((tick.end - tick.start).total_seconds(), 0.0)
        requests += tick.requests
        errors += tick.errors
        seconds += length_s
        error_seconds += min(max(tick.errors_logged, tick.errors), max(round(length_s), 1))
    return Arm(requests=requests, errors=errors, seconds=seconds, error_seconds=error_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Count:
    units: int
    failures: int

    @property
    def rate(self) -> float:
        return self.failures / self.units if self.units else 0.0


def _count(arm: Arm, *, serves: bool) -> _Count:
    units = arm.requests if serves else math.floor(arm.seconds)
    return _Count(units=units, failures=min(arm.errors if serves else arm.error_seconds, units))


def _serves(baseline: Arm, after: Arm) -> bool:
    return baseline.requests > 0 or after.requests > 0


def judge_symptom(symptom: Symptom) -> SymptomVerdict:
    """Say whether the symptom is gone or rarer; may be asked at any time, also before the window is over.

    Asking often does no harm: none at all in the first n units is one event, whose chance is what is
    bounded (`GONE_ALPHA`), and a symptom that occurred once after the change is never called gone.
    """
    serves = _serves(symptom.baseline, symptom.after)
    before, after = _count(symptom.baseline, serves=serves), _count(symptom.after, serves=serves)
    known, seen = symptom.baseline_occurrences, symptom.after_occurrences
    chance = chance_of_so_few(known, before.units, seen, after.units)
    gone = seen == 0 and chance < GONE_ALPHA
    rarer = seen > 0 and chance < RARER_ALPHA
    needed = 0
    if known and before.units:
        # (n0 / (n0 + n)) ** k0 < alpha, solved for n; beyond any traffic where k0 is that small.
        needed = math.floor(before.units * (GONE_ALPHA ** (-1 / known) - 1)) + 1
    what = "requests" if serves else "seconds"
    if not known or not before.units:
        reason = "the symptom was not seen in the time it is compared with"
    elif gone:
        reason = f"gone: none in {after.units} {what}, {known} in {before.units} before"
    elif rarer:
        reason = f"rarer: {seen} in {after.units} {what}, {known} in {before.units} before"
    elif seen:
        reason = f"still there: {seen} in {after.units} {what}, {known} in {before.units} before"
    else:
        reason = f"not seen in {after.units} {what}; it counts as gone from {needed} on"
    return SymptomVerdict(
        gone=gone,
        rarer=rarer,
        chance=chance,
        rate_before=known / before.units if before.units else 0.0,
        rate_after=seen / after.units if after.units else 0.0,
        units_needed=needed,
        reason=reason,
    )


def judge(
    *,
    baseline: Arm,
    after: Arm,
    symptom: Symptom | None,
    elapsed_s: float,
    watched_s: float,
    settings: ObservationSettings,
    connected: bool,
    served_earlier: bool = False,
) -> Judgement:
    """Judge an applied change by all that was counted so far; the same evidence, the same answer.

    `elapsed_s` since it went live, of which `watched_s` were seen; `connected`: an agent of the host is
    attached now; `served_earlier`: it served requests at some time before, though perhaps in neither arm: then
    seconds without an error are no evidence, because a host that is stuck has nothing else.
    """
    serves = served_earlier or _serves(baseline, after)
    before, now = _count(baseline, serves=serves), _count(after, serves=serves)
    alpha = settings.false_rollback / 2  # one half for the bound of the rate before, one for the test
    tolerated = _tolerated(before, settings, alpha=alpha)
    evidence = e_value(now.failures, now.units, tolerated=tolerated)
    what = "requests" if serves else "seconds"
    counted = f"{now.failures} of {now.units} {what} failed, {before.failures} of {before.units} before"

    def judged(kind: type[Continue] | type[Worse] | type[Well] | type[Hold], reason: str) -> Judgement:
        return kind(
            reason=f"{reason}: {counted}",
            e_value=evidence,
            rate_before=before.rate,
            rate_after=now.rate,
            tolerated=tolerated,
            units=now.units,
        )

    if evidence >= 1 / alpha and now.failures >= LEAST_FAILURES:
        return judged(Worse, "more failures than the time before the change explains")
    if elapsed_s < settings.window_s:
        return judged(Continue, f"watched for {elapsed_s:.0f} of {settings.window_s:.0f} s")
    doubt = _unseen(watched_s, settings, connected=connected) or _doubt(
        baseline, after, before, now, symptom, settings, what=what
    )
    return judged(Hold, doubt) if doubt else judged(Well, _success(symptom))


def _tolerated(before: _Count, settings: ObservationSettings, *, alpha: float) -> float:
    if before.units == 0:
        return UNKNOWN_TOLERATED
    risen = (1 + settings.max_rise) * before.rate
    return min(max(upper_bound(before.failures, before.units, alpha=alpha), risen, LEAST_TOLERATED), 1.0)


def _acceptable(before: _Count, settings: ObservationSettings) -> float:
    """Return the rate up to which a change is called well. Little traffic before gives no benefit of the doubt."""
    plausible = 0.0
    if before.units >= settings.min_requests:
        plausible = upper_bound(before.failures, before.units, alpha=_PLAUSIBLE)
    return max(plausible, (1 + settings.max_rise) * before.rate, LEAST_TOLERATED)


def _unseen(watched_s: float, settings: ObservationSettings, *, connected: bool) -> str:
    if not connected:
        return "no agent of the host is connected"
    # INVARIANT: a window that nobody watched did not pass well: the hub was away, the program was, or
    # the clock was set forward.
    if watched_s < LEAST_WATCHED * settings.window_s:
        return f"only {watched_s:.0f} of {settings.window_s:.0f} s were watched"
    return ""


def _doubt(
    baseline: Arm,
    after: Arm,
    before: _Count,
    now: _Count,
    symptom: Symptom | None,
    settings: ObservationSettings,
    *,
    what: str,
) -> str:
    """Return why what was seen does not call the change well, or an empty text when it does."""
    if now.units < settings.min_requests:
        return f"too few {what} to conclude from (at least {settings.min_requests})"
    if _traffic_fell(baseline, after):
        return "far fewer requests a second than before: the host may be stuck"
    if now.failures and before.units == 0:
        return "failures, and nothing to compare them with"
    if now.rate > _acceptable(before, settings):
        return "a rise of failures that is neither confirmed nor excluded"
    if symptom is None:
        return ""
    verdict = judge_symptom(symptom)
    if not (verdict.gone or verdict.rarer):
        return f"the symptom is not confirmed gone ({verdict.reason})"
    # What the symptom caused must be missing from the failures; else others have taken its place.
    if 0 < symptom.baseline_occurrences <= before.failures:
        others = _Count(units=before.units, failures=before.failures - symptom.baseline_occurrences)
        left = _Count(units=now.units, failures=max(now.failures - symptom.after_occurrences, 0))
        if left.rate > _acceptable(others, settings):
            return "the symptom is gone, but other failures have taken its place"
    return ""


def _traffic_fell(baseline: Arm, after: Arm) -> bool:
    if not (baseline.requests and baseline.seconds and after.seconds):
        return False
    return after.requests / after.seconds < LEAST_TRAFFIC * baseline.requests / baseline.seconds


def _success(symptom: Symptom | None) -> str:
    return "no rise of failures" if symptom is None else f"symptom {judge_symptom(symptom).reason}; no rise of failures"
