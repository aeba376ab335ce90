"""Stretches of a service by hand, for the detectors."""

import itertools
from datetime import UTC, datetime, timedelta

from homeostat.model.vitals import LATENCY_BOUNDS_MS, STRETCH_S, Stretch
from homeostat.rollout.detectors import View

CHANGE = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
_LENGTH = timedelta(seconds=STRETCH_S)


def latency(counts):
    """Return buckets with so many requests in those whose upper bound, in ms, is named."""
    return tuple(counts.get(bound, 0) for bound in (*LATENCY_BOUNDS_MS, None))


def stretch(start, *, requests=300, errors=0, slow=0, **rest):
    """Most requests take up to 50 ms, the slow ones up to 5 s."""
    times = latency({50: requests - slow, 5000: slow})
    return Stretch(start=start, requests=requests, errors=errors, latency=times, seconds=15.0, **rest)


def series(start, errors, **rest):
    """One stretch after the other, each with so many errors; None: it was not watched."""
    return [
        stretch(start + number * _LENGTH, errors=count, **rest)
        for number, count in enumerate(errors)
        if count is not None
    ]


def steady(length_s, errors=(1, 0, 2, 0), start=None, until=None, **rest):
    """A time with the same few errors again and again."""
    count = int(length_s // STRETCH_S)
    start = start if start is not None else until - count * _LENGTH
    return series(start, itertools.islice(itertools.cycle(errors), count), **rest)


def view(after, *, before=None, day_ago=None, steps=(CHANGE,), now=None, reach_s=3600.0):
    """A change at noon on a service that fared well for an hour before it, and well the day before."""
    now = now or (after[-1].end if after else CHANGE) + timedelta(seconds=3)
    if before is None:
        before = steady(3600, until=CHANGE)
    if day_ago is None:
        day_ago = steady(7200, start=CHANGE - timedelta(days=1))
    return View(before=before, day_ago=day_ago, after=after, steps=steps, now=now, reach_s=reach_s)
