"""The error rate has risen by more than is tolerated, within the hour.

It must be confirmed against the hour before the change *and* against the same hours of the day before (of those that
are known), and against each in two ways:

- by units: so many failures have a small chance at the tolerated rate, which is the largest of: the old rate with
  the tolerated rise, an upper confidence bound of the old rate, and `LEAST_TOLERATED`. So no failure in n units
  tolerates what n units do not exclude: few of them exclude little. It needs units that fail independently.
- by stretches: each is ranked among those of the reference by its failure rate, less the tolerated rise. While
  nothing changes every rank is as likely, whatever storms there are (conformal martingales: Vovk, Gammerman and
  Shafer, 2005). It needs stretches that are exchangeable: what there was of it before excuses as much of it now.

A harmless change is taken back with a chance of at most alpha where either need is met by either reference.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from datetime import datetime, timedelta

from homeostat.model.vitals import STRETCH_S
from homeostat.rollout.detectors.results import Fired, Holding, NoEvidence, Quiet, Result
from homeostat.rollout.detectors.service import SILENT_S, SPACING, Pool, Service
from homeostat.rollout.sequential import e_value
from homeostat.rollout.tolerance import LEAST_FAILURES, tolerated_rate
from homeostat.rollout.wagers import Wager

LEAST_STRETCHES = 20
"""Stretches of a reference below which ranks confirm nothing."""

_POWERS = (0.05, 0.2, 0.4, 0.7)
"""A rank p gains k p^(k - 1): of mean 1 for every k where p is uniform, and the more the smaller p is."""

HOUR_S = 3600.0


def risen_errors(service: Service) -> Result:
    """Say whether the rate of failures is confirmed to have risen, and has been for the grace time."""
    settings, view = service.settings, service.view
    if service.unknown:
        return NoEvidence(reason=service.unknown)
    after = service.yardstick.total(view.after)
    if service.present is None or service.silent_s() > SILENT_S:
        return NoEvidence(reason=f"too few {service.what} to tell a rate")
    old = [past.total for past in service.past]
    usual = max(pool.count.rate for pool in old)
    lately, lately_s = _lately(service)
    failed = f"{lately.count.rate:.2%} of {service.what} failed in the last {lately_s:,.0f} s"
    told = f"{failed}, {usual:.2%} before the change"
    since, by_ranks = _by_stretches(service)
    if since is None and lately.count.rate > max(_tolerated(service, pool) for pool in old):
        return Quiet(reason=f"{told}: more, and its stretches of {STRETCH_S} s are too few or too uneven to confirm it")
    if since is None or not service.belongs(since, within_s=HOUR_S) or after.failures < LEAST_FAILURES:
        return Quiet(reason=told)
    if lately.count.rate <= max(_tolerated(service, pool) for pool in old):
        return Quiet(reason=f"{told}; a rise since {since:%H:%M:%S} is tolerated, or over")
    by_units = min(_by_units(service, pool) for pool in old)
    if by_units < 2 / settings.false_alarm:
        return Holding(since=since, reason=f"{told}; too few {service.what} to be sure")
    lasting_s = STRETCH_S * sum(item.start >= since for item in view.after)
    if lasting_s < settings.grace_s:
        return Holding(since=since, reason=f"{told}, confirmed for {lasting_s:.0f} of {settings.grace_s:.0f} s")
    return Fired(
        since=since,
        reason=f"{told}: a rise of more than {settings.error_rise:.0%} is confirmed",
        figures={
            "rate": lately.count.rate,
            "rate_before": usual,
            "units": after.count.units,
            "failures": after.count.failures,
            "e_value_units": by_units,
            "e_value_stretches": by_ranks,
        },
    )


def _lately(service: Service) -> tuple[Pool, float]:
    """Return the last five minutes, or where too little came in them all since the change; and how long that is."""
    after, total = service.view.after, service.yardstick.total
    since = service.view.now - timedelta(seconds=300)
    recent = [item for item in after if item.start >= since]
    seen = recent if total(recent).units >= service.settings.min_requests else after
    return total(seen), (seen[-1].end - seen[0].start).total_seconds()


def _tolerated(service: Service, old: Pool) -> float:
    # One half of alpha for the bound of the old rate, one for the test.
    alpha = service.settings.false_alarm / 2
    return tolerated_rate(old.count, max_rise=service.settings.error_rise, alpha=alpha)


def _by_units(service: Service, old: Pool) -> float:
    """Return the mean evidence since each step: harm may begin with any, and a mean of e-values is one."""
    tolerated = _tolerated(service, old)
    values = []
    for step in service.view.steps:
        now = service.yardstick.total(item for item in service.view.after if item.start >= step).count
        values.append(e_value(now.failures, now.units, tolerated=tolerated, spacing=SPACING))
    return sum(values) / len(values)


def _by_stretches(service: Service) -> tuple[datetime | None, float]:
    """Return since when ranks confirm a rise against every reference, and by how much."""
    confirmed: list[datetime | None] = []
    least = math.inf
    new = service.yardstick.rates(service.view.after, least=service.settings.min_requests)
    for past in service.past:
        since, best = rank_evidence(
            past.rates, new, rise=service.settings.error_rise, alpha=service.settings.false_alarm
        )
        confirmed.append(since)
        least = min(least, best)
    times = [since for since in confirmed if since is not None]
    return (max(times) if len(times) == len(confirmed) else None), least


def rank_evidence(
    old: Sequence[float], new: Sequence[tuple[datetime, float]], *, rise: float, alpha: float
) -> tuple[datetime | None, float]:
    """Return since when the new rates are confirmed to be above the old ones by more than `rise`, and the evidence.

    A wager on ranks: its e-value reaches 1/alpha with a chance of at most alpha while all are exchangeable.
    """
    known = sorted(old)
    if len(known) < LEAST_STRETCHES:
        return None, 1.0
    wager = Wager((1 / len(_POWERS),) * len(_POWERS))
    since = None
    for at, rate in new:
        rate /= 1 + rise
        # Ties count against it: a rate of nothing is never remarkable.
        rank = (len(known) - bisect_left(known, rate) + 1) / (len(known) + 1)
        wager.bet(math.log(power) + (power - 1) * math.log(rank) for power in _POWERS)
        insort(known, rate)
        if since is None and wager.log_value >= -math.log(alpha):
            since = at
    return since, math.exp(min(wager.best, 700.0))
