"""The judge of the time after a change went live: worse, well, or not known.

The unit is a request where the host serves requests, else a second with or without an error. Where there are
several processes each is also compared with its own past (`homeostat.rollout.apart`), so that idle ones beside it
do not hide the one that fails. It says:

- `Worse` as soon as the failures after the change cannot be explained by the tolerated rate. That is
  the largest of: an upper confidence bound of the rate before the change, that rate with the tolerated
  rise, and `LEAST_TOLERATED`. The setting `false_rollback` is shared by the bound and the test, so it
  covers the whole watch however often it is asked.
- `Well` only after the window, when it was watched, with enough units, no more failures than the time
  before shows to be usual, and (where the change claims to fix a finding) with that symptom confirmed gone
  or rarer.
- `Hold` after the window where the evidence is not enough. Silence is never health: the commonest cause
  of no errors is a program that no longer answers.
- `Continue` until then.

It counts failures only: how long requests take is not judged here, and units are taken to fail
independently of each other.
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

from homeostat.model.settings import ObservationSettings
from homeostat.rollout.apart import Apart, judge_apart
from homeostat.rollout.arms import Arm, Count, count, serves
from homeostat.rollout.sequential import chance_of_at_most, chance_of_so_few, e_value
from homeostat.rollout.tolerance import LEAST_FAILURES, LEAST_TOLERATED, tolerated_rate

_CHANCE = 0.25
"""`Well` accepts a higher rate than before where, were nothing changed, as few failures before had this chance."""

_DOUBTFUL = 0.1
"""Evidence at which a rise in one process alone is not called well; a tenth of the time chance alone shows it."""

GONE_ALPHA = 0.05
RARER_ALPHA = 0.01
"""Stricter, because this one, unlike `GONE_ALPHA`, is not immune to being asked again and again."""

_SILENCE = "a service's silence is no evidence, so it waits for requests, or for somebody who takes it back"

LEAST_WATCHED = 0.9
"""Share of the window that must have been watched: a tick that was lost holds nothing up."""

LEAST_TRAFFIC = 0.1
"""Requests per second after the change, relative to before, below which the host may be stuck."""


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

    @property
    def confirmed(self) -> bool:
        """Tell whether the evidence shows that the change did something for its finding."""
        return self.gone or self.rarer


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


def judge_symptom(symptom: Symptom) -> SymptomVerdict:
    """Say whether the symptom is gone or rarer; may be asked at any time, also before the window is over.

    Asking often does no harm: none at all in the first n units is one event, whose chance is what is
    bounded (`GONE_ALPHA`), and a symptom that occurred once after the change is never called gone.
    """
    by_requests = serves(symptom.baseline, symptom.after)
    before, after = count(symptom.baseline, by_requests=by_requests), count(symptom.after, by_requests=by_requests)
    known, seen = symptom.baseline_occurrences, symptom.after_occurrences
    chance = chance_of_so_few(known, before.units, seen, after.units)
    gone = seen == 0 and chance < GONE_ALPHA
    rarer = seen > 0 and chance < RARER_ALPHA
    needed = 0
    if known and before.units:
        # (n0 / (n0 + n)) ** k0 < alpha, solved for n; beyond any traffic where k0 is that small.
        needed = math.floor(before.units * (GONE_ALPHA ** (-1 / known) - 1)) + 1
    what = "requests" if by_requests else "seconds"
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
) -> Judgement:
    """Judge an applied change by all that was counted so far; the same evidence, the same answer.

    `elapsed_s` since it went live, of which `watched_s` were seen; `connected`: an agent of the host is
    attached now.
    """
    by_requests = serves(baseline, after)
    before, now = count(baseline, by_requests=by_requests), count(after, by_requests=by_requests)
    alpha = settings.false_rollback / 2  # one half for the bounds of the rates before, one for the test
    apart = judge_apart(baseline, after, settings, alpha=alpha / 2)
    tolerated = tolerated_rate(before, max_rise=settings.max_rise, alpha=alpha if apart is None else alpha / 2)
    evidence = e_value(now.failures, now.units, tolerated=tolerated)
    what = "requests" if by_requests else "seconds"
    counted = f"{now.failures} of {now.units} {what} failed, {before.failures} of {before.units} before"
    most = now.failures
    if apart is not None:
        # The mean of e-values is one, however they depend on each other.
        evidence = (evidence + apart.e_value) / 2
        most = max(most, apart.failures)
        if apart.stands_out:
            counted = f"{counted}; {apart.told}"

    def judged(kind: type[Continue] | type[Worse] | type[Well] | type[Hold], reason: str) -> Judgement:
        return kind(
            reason=f"{reason}: {counted}",
            e_value=evidence,
            rate_before=before.rate,
            rate_after=now.rate,
            tolerated=tolerated,
            units=now.units,
        )

    if evidence >= 1 / alpha and most >= LEAST_FAILURES:
        return judged(Worse, "more failures than the time before the change explains")
    if elapsed_s < settings.window_s:
        return judged(Continue, f"watched for {elapsed_s:.0f} of {settings.window_s:.0f} s")
    doubt = _unseen(watched_s, settings, connected=connected) or _doubt(
        baseline, after, before, now, symptom, settings, apart, by_requests=by_requests
    )
    return judged(Hold, doubt) if doubt else judged(Well, _success(symptom))


def _rise(before: Count, now: Count, settings: ObservationSettings, *, what: str) -> str:
    """Return why so many failures are not called well, or an empty text when they are.

    A time before in which failures of the present rate would hardly have shown excludes nothing, and so
    excuses nothing: what is not known to be usual is held, however little speaks against it.
    """
    if now.rate <= LEAST_TOLERATED:
        return ""
    needed = max(settings.min_requests, math.ceil(LEAST_FAILURES / now.rate))
    if before.units < needed:
        return f"too little was seen before to know whether such a rate of failures is usual (at least {needed} {what})"
    if now.rate <= (1 + settings.max_rise) * before.rate:
        return ""
    # Given their sum, the failures before are binomial with the share of units that lies before.
    share = before.units / (before.units + now.units)
    if chance_of_at_most(before.failures, before.failures + now.failures, rate=share) >= _CHANCE:
        return ""
    return "a rise of failures that is neither confirmed nor excluded"


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
    before: Count,
    now: Count,
    symptom: Symptom | None,
    settings: ObservationSettings,
    apart: Apart | None,
    *,
    by_requests: bool,
) -> str:
    """Return why what was seen does not call the change well, or an empty text when it does."""
    if now.units < settings.min_requests:
        if by_requests:
            return f"too few requests to conclude from (at least {settings.min_requests}); {_SILENCE}"
        return f"too few seconds to conclude from (at least {settings.min_requests})"
    if _traffic_fell(baseline, after):
        return "far fewer requests a second than before: the host may be stuck"
    if now.failures and before.units == 0:
        return "failures, and nothing to compare them with"
    what = "requests" if by_requests else "seconds"
    risen = _rise(before, now, settings, what=what)
    if risen:
        return risen
    if apart is not None and apart.e_value >= 1 / _DOUBTFUL:
        return "a rise of failures in one process that is neither confirmed nor excluded"
    if symptom is None:
        return ""
    verdict = judge_symptom(symptom)
    if not verdict.confirmed:
        return f"the symptom is not confirmed gone ({verdict.reason})"
    # What the symptom caused must be missing from the failures; else others have taken its place.
    if 0 < symptom.baseline_occurrences <= before.failures:
        others = Count(units=before.units, failures=before.failures - symptom.baseline_occurrences)
        left = Count(units=now.units, failures=max(now.failures - symptom.after_occurrences, 0))
        if _rise(others, left, settings, what=what):
            return "the symptom is gone, but other failures have taken its place"
    return ""


def _traffic_fell(baseline: Arm, after: Arm) -> bool:
    if not (baseline.requests and baseline.seconds and after.seconds):
        return False
    return after.requests / after.seconds < LEAST_TRAFFIC * baseline.requests / baseline.seconds


def _success(symptom: Symptom | None) -> str:
    return "no rise of failures" if symptom is None else f"symptom {judge_symptom(symptom).reason}; no rise of failures"
