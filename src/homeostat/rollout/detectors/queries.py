"""A query that somebody configured: Prometheus answers with values beyond a threshold, for some time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from homeostat.model.settings import PrometheusQuery
from homeostat.rollout.detectors.results import Fired, Holding, NoEvidence, Quiet, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a query had as its value at one time; None: none."""

    at: datetime
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """Why there is no answer to a query."""

    reason: str


Answer: TypeAlias = Sequence[Reading] | Unanswered


def judge_query(query: PrometheusQuery, answer: Answer, *, began_at: datetime, until: datetime) -> Result:
    """Say what follows from a query's values, told at even intervals, some of them from before the change.

    Beyond the threshold for `for_s` and still so: taken back, if that began by `until`. Where it was so when the
    change began, nothing is known. A time without a value neither begins nor ends a spell, unless silence is harm.
    """
    if isinstance(answer, Unanswered):
        return NoEvidence(reason=answer.reason, asks=True)
    held: datetime | None = None
    last: Reading | None = None
    for reading in answer:
        if reading.value is None and not query.silence_is_harm:
            continue
        last = reading
        bad = reading.value is None or _is_beyond(query, reading.value)
        held = (held or reading.at) if bad else None
    if last is None or last.at <= began_at or answer[-1].at - last.at > timedelta(seconds=max(query.for_s, 60.0)):
        return NoEvidence(reason="Prometheus has no value for it since the change", asks=True)
    told = f"{_words(last.value)}, the threshold is {_threshold(query)}"
    if held is None:
        return Quiet(reason=told)
    if held <= began_at:
        return NoEvidence(reason=f"{told}, and it was so before the change", asks=True)
    if held > until:
        return Quiet(reason=f"{told}; since {held:%H:%M:%S}, too long after the change to be its own")
    lasting_s = (last.at - held).total_seconds()
    if lasting_s < query.for_s:
        return Holding(since=held, reason=f"{told}, for {lasting_s:.0f} of {query.for_s:.0f} s")
    figures = {"seconds": lasting_s}
    figures |= {} if last.value is None else {"value": last.value}
    figures |= {} if query.above is None else {"above": query.above}
    figures |= {} if query.below is None else {"below": query.below}
    return Fired(since=held, reason=f"{told}, for {lasting_s:.0f} s", figures=figures)


def worst(query: PrometheusQuery, values: Sequence[float]) -> float:
    """Return of several series' values at one time the one that is nearest to harm, or farthest into it."""
    if query.below is None:
        return max(values)
    if query.above is None:
        return min(values)
    return max(values, key=lambda value: max(value - (query.above or 0.0), (query.below or 0.0) - value))


def _is_beyond(query: PrometheusQuery, value: float) -> bool:
    return (query.above is not None and value > query.above) or (query.below is not None and value < query.below)


def _words(value: float | None) -> str:
    return "no value" if value is None else f"{value:g}"


def _threshold(query: PrometheusQuery) -> str:
    words = []
    if query.above is not None:
        words.append(f"above {query.above:g}")
    if query.below is not None:
        words.append(f"below {query.below:g}")
    return " or ".join(words)
