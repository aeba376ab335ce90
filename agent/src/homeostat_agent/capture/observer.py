"""Turns log records and uncaught exceptions of the host into occurrences in the ring."""

from __future__ import annotations

import logging
import sys
import threading
import time

from homeostat_agent.capture.failures import Failures
from homeostat_agent.capture.frames import Frame, Repository, function_name
from homeostat_agent.capture.occurrence import (
    ERROR,
    FATAL,
    WARNING,
    describe,
    only_member,
    seen_before,
    text_of,
    type_name,
)
from homeostat_agent.capture.traffic import ASIDE, Request, current_request
from homeostat_agent.ring import Ring, Tally

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

OWN_LOGGER = "homeostat_agent"
MAX_PER_SITE = 200
MAX_PER_SECOND = 500
"""Occurrences that are made per second, from one place and in all: cleaning costs the host time."""

_MAX_CALLERS = 20
_MAX_PRINTED = 10
"""Exceptions that one request prints and that are kept until it ends."""

_TELLS_OF_ANSWERS = "django.request"
"""A logger that tells of an answer from 500, and not of the exception that it was made of."""

_ACCESS_LOG = "django.server"
"""The logger of `runserver`, which calls every line about an answer from 500 an error."""

_ANSWERS = {
    500: "Internal Server Error was answered",
    502: "Bad Gateway was answered",
    503: "Service Unavailable was answered",
    504: "Gateway Timeout was answered",
}


class Observer:
    """Never raises into the host, except what is no `Exception` (an interrupt that arrives meanwhile)."""

    def __init__(self, *, ring: Ring, root: str, failures: Failures) -> None:
        self._ring = ring
        self._root = root
        self._repository = Repository(root)
        self._failures = failures
        self._state = threading.local()
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        self._errors = Tally()
        self._errors_taken = 0
        self._budget = _Budget()

    def take_errors(self) -> int:
        """Return how many errors there were since the last call: records of ERROR and above, uncaught exceptions."""
        value = self._errors.value
        taken, self._errors_taken = value - self._errors_taken, value
        return taken

    def tell(self, message: str) -> None:
        """Take a warning of the agent itself."""
        self._put(severity=WARNING, text="WARNING", logger=OWN_LOGGER, message=message, error=None, site=None)

    def record(self, record: logging.LogRecord) -> None:
        """Take a log record of WARNING or above, before the host's handlers see it."""
        name = record.name
        if name.startswith(OWN_LOGGER) and (len(name) == len(OWN_LOGGER) or name[len(OWN_LOGGER)] == "."):
            return
        if name == _ACCESS_LOG and hasattr(record, "status_code"):
            return  # the request itself tells of its answer, with its place
        if self._enter("log"):
            try:
                self._record(record)
            except Exception:
                self._failures.note("log")
            finally:
                self._state.busy = False

    def escaped(self, error: BaseException, where: str, *, severity: int = ERROR) -> None:
        """Take an exception that nobody caught. `where` is what saw it, and stands for the logger."""
        if self._enter("exception"):
            try:
                self._escaped(error, where, severity)
            except Exception:
                self._failures.note("exception")
            finally:
                self._state.busy = False

    def printed(self, error: Exception, where: str) -> None:
        """Take an exception that the program printed: at once, or when it is known how the request ends."""
        request = current_request()
        if request is None or request.finished:
            self.escaped(error, where)
        elif not request.status:
            if len(request.printed) < _MAX_PRINTED:
                request.printed.append((error, where))
        elif not _is_clients(request.status):
            self.escaped(error, where)

    def ending(self, request: Request, where: str) -> None:
        """Take a request that ends, and in which something was printed or nobody told why it failed.

        An answer of 500 is an error. Any from 501 on is a warning: a program that is overloaded, or not ready,
        says so on purpose.
        """
        if not _is_clients(request.status):
            for error, printed_by in request.printed:
                self.escaped(error, printed_by)
        if request.status >= 500 and not request.told and self._enter("exception"):
            try:
                self._failed(request, where, request.suspect)
            except Exception:
                self._failures.note("exception")
            finally:
                self._state.busy = False

    def suspect(self, error: Exception) -> None:
        """Note an exception that somebody looks at: it is an error if the present request fails."""
        request = current_request()
        if request is not None and not request.finished:
            request.suspect = error

    def dismiss(self, error: BaseException) -> None:
        """Let an exception pass that is no error (a client that is gone), also when the server logs it as one."""
        request = current_request()
        serial = request.serial if request is not None else 0
        seen_before(error, severity=ERROR, request=serial, now_s=time.monotonic())

    def _enter(self, what: str) -> bool:
        # A __str__ of the host that logs, or a signal that arrives while a record is being made.
        if getattr(self._state, "busy", False):
            self._failures.note("nested-" + what)
            return False
        self._state.busy = True
        return True

    def _record(self, record: logging.LogRecord) -> None:
        severity = (
            FATAL if record.levelno >= logging.CRITICAL else ERROR if record.levelno >= logging.ERROR else WARNING
        )
        error = _error_of(record)
        if error is None and severity >= ERROR:
            error = _handled_here(record)
        answered = None
        if error is None and severity >= ERROR and record.name == _TELLS_OF_ANSWERS:
            answered = current_request()
            error = answered.suspect if answered is not None and not answered.finished else None
        if not self._counts(error, severity, site=(record.pathname, record.lineno)):
            return
        self._put(
            severity=severity,
            text=str(record.levelname),
            logger=record.name,
            message=_message_of(record),
            error=error,
            site=self._site_of(record) or (self._answering(answered) if answered is not None else None),
        )

    def _escaped(self, error: BaseException, where: str, severity: int) -> None:
        if self._counts(error, severity, site=(where, 0)):
            text = "CRITICAL" if severity >= FATAL else "ERROR"
            self._put(severity=severity, text=text, logger=where, message="", error=error, site=None)

    def _failed(self, request: Request, where: str, error: Optional[Exception]) -> None:
        severity = ERROR if request.status == 500 else WARNING
        if not self._counts(error, severity, site=(where, request.status)):
            return
        self._put(
            severity=severity,
            text="ERROR" if severity >= ERROR else "WARNING",
            logger=where,
            message="" if error is not None else _ANSWERS.get(request.status, "a status from 500 was answered"),
            error=error,
            site=self._answering(request) if error is None else None,
        )

    def _answering(self, request: Request) -> Optional[Frame]:
        """Return the place of the function that answers a request, where it is known and the program's own."""
        code = getattr(request.endpoint(), "__code__", None)
        path = self._repository.relative(code.co_filename) if code is not None else ""
        return Frame(path, code.co_firstlineno, function_name(code)) if code is not None and path else None

    def _counts(self, error: Optional[BaseException], severity: int, *, site: tuple[str, int]) -> bool:
        """Tell whether this is to be put in the ring, and count it where it is an error."""
        request = current_request()
        if request is not None and request.serial == ASIDE:
            return False
        kind: Any = None
        if request is not None and severity >= ERROR:
            request.told = True
        if error is not None:
            kind = type(only_member(error))
            if request is not None and not request.finished and severity >= ERROR:
                request.error_hint = type_name(only_member(error))
            serial = request.serial if request is not None else 0
            if seen_before(error, severity=severity, request=serial, now_s=time.monotonic()):
                return False
        if severity >= ERROR:
            self._errors.add()
        if not self._budget.allows((site, kind), now_s=time.monotonic()):
            self._failures.note("flood")
            return False
        return True

    def _put(
        self,
        *,
        severity: int,
        text: str,
        logger: str,
        message: str,
        error: Optional[BaseException],
        site: Optional[Frame],
    ) -> None:
        request = current_request()
        self._ring.put(
            describe(
                repository=self._repository,
                root=self._root,
                severity_number=severity,
                severity_text=text,
                logger=logger,
                message=message,
                error=error,
                site=site,
                route=request.route() if request is not None and not request.finished else "",
            )
        )

    def _site_of(self, record: logging.LogRecord) -> Optional[Frame]:
        path = self._repository.relative(record.pathname)
        if not path:
            return None
        name = record.funcName or ""
        frame = sys._getframe(1)
        for _ in range(_MAX_CALLERS):
            caller = frame.f_back
            if caller is None:
                break
            frame = caller
            if frame.f_code.co_filename == record.pathname and frame.f_code.co_name == name:
                name = function_name(frame.f_code)
                break
        return Frame(path, record.lineno, name)


class _Budget:
    """Counts per place and second. Its small races let a few more through, and cost nothing."""

    def __init__(self) -> None:
        self._second = 0
        self._total = 0
        self._by_site: dict[Any, int] = {}

    def allows(self, site: Any, *, now_s: float) -> bool:
        second = int(now_s)
        if second != self._second:
            self._second, self._total, self._by_site = second, 0, {}
        here = self._by_site.get(site, 0)
        if here >= MAX_PER_SITE or self._total >= MAX_PER_SECOND:
            return False
        self._by_site[site] = here + 1
        self._total += 1
        return True


def _is_clients(status: int) -> bool:
    return 400 <= status < 500


def _error_of(record: logging.LogRecord) -> Optional[BaseException]:
    info: Any = record.exc_info
    error = info[1] if isinstance(info, tuple) and len(info) == 3 else info
    return error if isinstance(error, BaseException) else None


def _handled_here(record: logging.LogRecord) -> Optional[BaseException]:
    """Return the exception that the caller is just handling, where its record tells of it in words only.

    ``logger.error("failed: %s", error)`` and ``logger.error(traceback.format_exc())`` inside an ``except`` name no
    exception to the logging module, and where they stand is not where it was raised. The text must hold the
    exception's own words, or its type's name: a record about something else, made meanwhile, stays one of its own.
    """
    error = sys.exc_info()[1]
    if error is None:
        return None
    leaf = only_member(error)
    told, words = _message_of(record), text_of(leaf)
    return error if (words and words in told) or type(leaf).__name__ in told else None


def _message_of(record: logging.LogRecord) -> str:
    try:
        return str(record.getMessage())
    except Exception:  # the host's own arguments: a wrong format, a __str__ that raises
        return record.msg if isinstance(record.msg, str) else type(record.msg).__name__
