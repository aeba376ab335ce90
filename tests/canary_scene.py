"""Requests by hand, and time that stands still, for the tests of canaries."""

import contextvars

from homeostat_agent.canary.switch import Terms
from homeostat_agent.capture.failures import Failures
from homeostat_agent.capture.traffic import Traffic


class Clock:
    """A monotonic clock that moves when it is told to."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s

    def pass_s(self, seconds):
        self.now_s += seconds


class Requests:
    """Does what a server's wrapper does around each request."""

    def __init__(self):
        self.traffic = Traffic(
            failures=Failures(), on_escape=lambda *_: None, on_ending=lambda *_: None, on_disconnect=lambda *_: None
        )

    def run(self, work, *, source=None, status=200):
        """Return what `work(request)` returns in a request of its own; what it raises comes out."""

        def answer():
            request = self.traffic.begin(source or {}, lambda *_: "/")
            request.answered(status)
            try:
                result = work(request)
            except BaseException as error:
                self.traffic.finish(request, error, where="wsgi")
                raise
            self.traffic.finish(request, None, where="wsgi")
            return result

        return contextvars.copy_context().run(answer)


def terms(percent=50, key=None, lease_s=60.0):
    return Terms(percent, key, lease_s)


def units(report):
    """Return how many units each arm has, and its failures by kind, of a report."""
    named = {"old": report.arms[False], "new": report.arms[True]}
    kinds = {(arm, kind): count for arm, counts in named.items() for kind, count in counts.failures.items()}
    return {arm: counts.units for arm, counts in named.items()}, kinds
