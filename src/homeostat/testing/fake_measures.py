"""Prometheus, as far as a detector can tell: what a query had as its value since when."""

import math
from datetime import datetime, timedelta

from homeostat.model.settings import PrometheusQuery
from homeostat.rollout.detectors.queries import Answer, Reading, Unanswered, worst

STEP_S = 5.0


class FakeMeasures:
    """`homeostat.ports.measuring.Measures`, with values that a test sets."""

    def __init__(self) -> None:
        self._values: dict[str, list[tuple[datetime, tuple[float, ...]]]] = {}
        self._silence = ""
        self._asked: set[tuple[PrometheusQuery, datetime]] = set()

    def put(self, query: str, at: datetime, *values: float) -> None:
        """From then on the query has these values, one a series; none: no series."""
        self._values.setdefault(query, []).append((at, values))

    def fall_silent(self, reason: str) -> None:
        """Answer nothing any more; with an empty reason answer again."""
        self._silence = reason

    def answer(self, query: PrometheusQuery, *, since: datetime, until: datetime) -> Answer:
        if (query, since) not in self._asked:
            self._asked.add((query, since))
            return Unanswered(reason="not asked yet")
        if self._silence:
            return Unanswered(reason=self._silence)
        count = math.floor((until - since).total_seconds() / STEP_S) + 1
        return [self._reading(query, since + index * timedelta(seconds=STEP_S)) for index in range(count)]

    def close(self) -> None:
        """Nothing is held."""

    def _reading(self, query: PrometheusQuery, at: datetime) -> Reading:
        known = [values for begins, values in self._values.get(query.query, ()) if begins <= at]
        numbers = [value for value in known[-1] if not math.isnan(value)] if known else []
        return Reading(at=at, value=worst(query, numbers) if numbers else None)
