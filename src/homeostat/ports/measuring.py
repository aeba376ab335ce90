"""Measurements of others that a change is held against: Prometheus."""

from datetime import datetime
from typing import Protocol

from homeostat.model.settings import PrometheusQuery
from homeostat.rollout.detectors.queries import Answer


class Measures(Protocol):
    def answer(self, query: PrometheusQuery, *, since: datetime, until: datetime) -> Answer:
        """Return what is known of a query's values in this time, at even intervals, oldest first; never waits.

        A fresh answer is fetched beside when the last one is some seconds old, so the first time there is none. What
        was fetched since another time answers nothing: whoever asks again and again keeps to one `since`.
        Whatever goes wrong is `Unanswered` with the reason: no answer, a bad one, one too large, one too old.
        Values that are no numbers are left out; of several series the worst one counts.
        """
        ...

    def close(self) -> None:
        """Ask nothing any more."""
        ...
