"""Each process judged by its own past: what one of them does is not thinned out by those beside it.

A pool of workers has a parent that never runs a job, and a web server may stand beside a worker whose code was
changed. Which process calls the changed code is not known (nothing counts calls, and a parent has loaded what
its workers run), so none is left out: each is tested in its own unit, and the mean of their evidence counts.
A process that was not there before is compared with the worst of its kind.
"""

from dataclasses import dataclass

from homeostat.model.settings import ObservationSettings
from homeostat.rollout.arms import Arm, Count, count, serves
from homeostat.rollout.sequential import e_value
from homeostat.rollout.tolerance import LEAST_FAILURES, UNKNOWN_TOLERATED, tolerated_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """What the processes say one by one."""

    e_value: float
    """Mean evidence that a process fails more often than is tolerated of it."""

    failures: int
    """Of the process that speaks most against the change."""

    stands_out: bool
    """Whether that process has enough failures to be named."""

    told: str
    """That process in words."""


def judge_apart(baseline: Arm, after: Arm, settings: ObservationSettings, *, alpha: float) -> Apart | None:
    """Judge every process by itself; None where there is but one, or they are not told apart.

    With probability at least 1 - `alpha` every process that was there before is harmless at the rate it is tested for.
    """
    if len(after.parts) < 2:
        return None
    share = alpha / max(len(baseline.parts), 1)
    most: tuple[float, Count, str] | None = None
    total = 0.0
    for name, part in after.parts.items():
        own = baseline.parts.get(name)
        by_requests = serves(part) if own is None else serves(part, own)
        now = count(part, by_requests=by_requests)
        evidence = 0.0
        if now.failures >= LEAST_FAILURES:
            tolerated = _tolerated(baseline, own, settings, alpha=share, by_requests=by_requests)
            evidence = e_value(now.failures, now.units, tolerated=tolerated)
        total += evidence
        if most is None or (evidence, now.failures) > (most[0], most[1].failures):
            most = (evidence, now, _told(now, own, by_requests=by_requests, processes=len(after.parts)))
    assert most is not None
    return Apart(
        e_value=total / len(after.parts), failures=most[1].failures, stands_out=most[0] >= 0.5 / alpha, told=most[2]
    )


def _tolerated(
    baseline: Arm, own: Arm | None, settings: ObservationSettings, *, alpha: float, by_requests: bool
) -> float:
    if own is not None and count(own, by_requests=by_requests).units:
        likes = [own]
    else:
        likes = [part for part in baseline.parts.values() if serves(part) == by_requests]
    counts = (count(part, by_requests=by_requests) for part in likes)
    rates = [tolerated_rate(before, max_rise=settings.max_rise, alpha=alpha) for before in counts]
    return max(rates, default=UNKNOWN_TOLERATED)


def _told(now: Count, own: Arm | None, *, by_requests: bool, processes: int) -> str:
    what = "requests" if by_requests else "seconds"
    told = f"in one of {processes} processes {now.failures} of {now.units} {what} failed"
    if own is None:
        return f"{told}, which was not there before"
    before = count(own, by_requests=by_requests)
    return f"{told}, {before.failures} of {before.units} before"
