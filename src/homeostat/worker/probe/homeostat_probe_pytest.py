"""Tells the probe how each test of the outermost pytest run ended. PYTEST_DONT_REWRITE"""

from __future__ import annotations

from typing import Any

import homeostat_probe  # type: ignore[import-not-found]


class Recorder:
    """Hears every report of one pytest run; with pytest-xdist, in the process that gathers them."""

    def __init__(self, session: homeostat_probe.Session) -> None:
        self._session = session
        self._outcomes: dict[str, str] = {}
        self._written: set[str] = set()

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._session.test(report.nodeid or "collection", "error")

    def pytest_runtest_logreport(self, report: Any) -> None:
        outcome = self._outcome(report)
        known = self._outcomes.get(report.nodeid)
        if outcome is not None and known not in ("failed", "error"):
            self._outcomes[report.nodeid] = outcome

    @staticmethod
    def _outcome(report: Any) -> Any:
        if report.outcome == "failed":
            return "failed" if report.when == "call" else "error"
        if report.outcome == "skipped":
            return "skipped"  # an expected failure too: it says nothing good about the code
        if report.outcome == "passed" and report.when == "call":
            return "passed"
        return None  # setup and teardown that went well; a try that will be repeated

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        outcome = self._outcomes.pop(nodeid, None)
        if outcome is not None:
            self._session.test(nodeid, outcome)

    def pytest_sessionfinish(self, session: Any, exitstatus: Any) -> None:
        for nodeid, outcome in self._outcomes.items():
            self._session.test(nodeid, outcome)
        self._outcomes.clear()

    def pytest_unconfigure(self, config: Any) -> None:
        session = config.pluginmanager.get_plugin("session")
        status = getattr(session, "exitstatus", 3)
        self._session.end(int(status))


def pytest_configure(config: Any) -> None:
    session = homeostat_probe.begin_session("pytest")
    if session is not None:
        config.pluginmanager.register(Recorder(session), "homeostat-recorder")
