"""Captures what happens in the host: log records, uncaught exceptions, requests, and the process's vitals.

    capture = install(ring, context)
    ring.drain(200)        # occurrences, for `homeostat_agent.otlp.encode_logs`
    capture.vitals()       # what was counted since the last call, for `homeostat_agent.otlp.encode_metrics`
    capture.uninstall()

Nothing here waits, and nothing raises into the host: what fails inside is counted in `Capture.failures`
and goes out with what was dropped.
"""

from __future__ import annotations

import functools
import logging
import os
import weakref

from homeostat_agent.capture import printed, uncaught, workers
from homeostat_agent.capture.failures import Failures
from homeostat_agent.capture.imports import PostImport
from homeostat_agent.capture.looplag import LoopLag
from homeostat_agent.capture.observer import Observer
from homeostat_agent.capture.patches import Patches
from homeostat_agent.capture.process import Moment, ProcessMeter, memory_bytes
from homeostat_agent.capture.servers import Servers
from homeostat_agent.capture.traffic import Traffic
from homeostat_agent.context import HostContext
from homeostat_agent.ring import Ring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

__all__ = ["AlreadyInstalled", "Capture", "install"]

_installed: list[Capture] = []  # at most one: what is replaced is the interpreter's


class AlreadyInstalled(RuntimeError):
    """This process is being captured already: there is one interpreter, so there is one capture."""


def install(ring: Ring, context: HostContext, *, on_worker_end: Optional[Callable[[], None]] = None) -> Capture:
    """Start to capture into `ring`. `AlreadyInstalled` when it was started and not uninstalled since.

    `on_worker_end` is called in a worker of `multiprocessing` that is about to end.
    """
    if _installed:
        raise AlreadyInstalled("capture is installed already")
    capture = Capture(ring, context, on_worker_end=on_worker_end)
    _installed.append(capture)
    try:
        capture._start()
    except BaseException:
        capture.uninstall()
        raise
    if hasattr(os, "register_at_fork"):
        known = weakref.ref(capture)
        os.register_at_fork(after_in_child=lambda: _after_fork(known()))
    return capture


def _after_fork(capture: Optional[Capture]) -> None:
    if capture is not None and capture in _installed:
        capture.reset_after_fork()


class Capture:
    """What was installed in this process. Made by `install`."""

    def __init__(self, ring: Ring, context: HostContext, *, on_worker_end: Optional[Callable[[], None]]) -> None:
        self.failures = Failures()
        self._ring = ring
        self._patches = Patches(self.failures)
        self._observer = Observer(ring=ring, root=context.repository, failures=self.failures)
        self._traffic = Traffic(
            failures=self.failures,
            on_escape=self._observer.escaped,
            on_ending=self._observer.ending,
            on_disconnect=self._observer.dismiss,
        )
        self._lag = LoopLag()
        self._meter = ProcessMeter()
        self._since = Moment.now()
        servers = Servers(patches=self._patches, traffic=self._traffic, lag=self._lag, failures=self.failures)
        hook_workers = functools.partial(
            workers.hook, observer=self._observer, patches=self._patches, failures=self.failures, on_end=on_worker_end
        )
        hook_rich = functools.partial(printed.hook_rich, observer=self._observer, patches=self._patches)
        others = {"multiprocessing.process": hook_workers, "rich.console": hook_rich}
        self._imports = PostImport({**servers.hooks(), **others}, self.failures)

    def _start(self) -> None:
        uncaught.hook(self._observer, self._patches)
        printed.hook(self._observer, self._patches, self.failures)
        self._hook_logging()
        self._imports.install()

    def _hook_logging(self) -> None:
        # Here every record of every logger comes by, those that do not propagate too, after the logger's
        # own level and filters. Handlers are never touched: dictConfig may replace them as it likes.
        original = logging.Logger.callHandlers
        observe, failures, level = self._observer.record, self.failures, logging.WARNING

        def callHandlers(logger: logging.Logger, record: logging.LogRecord) -> None:  # noqa: N802
            try:
                if record.levelno >= level:
                    observe(record)
            except Exception:
                failures.note("log")
            return original(logger, record)

        self._patches.replace(logging.Logger, "callHandlers", callHandlers)

    def vitals(self) -> dict[str, Any]:
        """Return what was counted since the last call (or the installation, or the fork).

        `start_unix_ns`, `end_unix_ns`; `requests`: `traffic.Series` by (route, kind of error or ""); `errors_logged`;
        `loop_lag_ms_max`, `cpu_utilization` (1.0: one core) and `memory_bytes`, each None when it is not known;
        `dropped`: occurrences dropped and failures inside, since the start; `serves`: 1 where requests to this process
        are counted, whether any came or not, else 0. One caller at a time.
        """
        since, self._since = self._since, Moment.now()
        return {
            "start_unix_ns": self._since.start_of_interval(since),
            "end_unix_ns": self._since.unix_ns,
            "requests": self._traffic.take(),
            "errors_logged": self._observer.take_errors(),
            "loop_lag_ms_max": self._lag.take_ms(),
            "cpu_utilization": self._meter.take_cpu(),
            "memory_bytes": memory_bytes(),
            "dropped": self._ring.dropped + self.failures.total,
            "serves": int(self._traffic.serves),
        }

    def tell(self, message: str) -> None:
        """Put a warning of the agent's own beside what it captures."""
        self._observer.tell(message)

    def uninstall(self) -> None:
        """Put back what was replaced, where it is still ours. Applications that were wrapped become transparent."""
        self._traffic.active = False
        self._lag.active = False
        self._imports.uninstall()
        self._patches.restore()
        if self in _installed:
            _installed.remove(self)

    def reset_after_fork(self) -> None:
        """Begin anew in a child process: what the parent counted is the parent's to send. Also called by itself."""
        self._ring.reset_after_fork()
        self.failures.reset_after_fork()
        self._observer.reset_after_fork()
        self._traffic.reset_after_fork()
        self._lag.reset_after_fork()
        self._meter.reset_after_fork()
        self._since = Moment.now()
