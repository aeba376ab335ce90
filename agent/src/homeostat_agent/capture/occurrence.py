"""One warning, error or uncaught exception, as it leaves the host: cleaned, bounded, and made of plain values."""

from __future__ import annotations

import time

from homeostat_agent.capture.frames import Frame, Repository, members
from homeostat_agent.redact import clean_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple, Optional
else:
    from homeostat_agent.record import NamedTuple

MAX_MESSAGE_CHARS = 2_000
MAX_NAME_CHARS = 200

WARNING, ERROR, FATAL = 13, 17, 21
"""Severity numbers of OpenTelemetry."""

_NOWHERE = Frame("", 0, "")
_MARK = "_homeostat_seen"
_SAME_ERROR_S = 10.0


class Occurrence(NamedTuple):
    """What the ring carries. Nothing in it refers to an object of the host."""

    at_unix_ns: int
    severity_number: int
    severity_text: str
    logger: str
    message: str
    exception_type: str
    exception_message: str
    location: Frame
    """Innermost frame inside the repository; an empty path when there is none."""

    trace: tuple[Frame, ...]
    """Frames inside the repository, outermost first; empty without an exception."""

    route: str


def describe(
    *,
    repository: Repository,
    root: str,
    severity_number: int,
    severity_text: str,
    logger: str,
    message: str,
    error: Optional[BaseException],
    site: Optional[Frame],
    route: str,
) -> Occurrence:
    """Make an occurrence of raw parts. An empty `message` becomes the exception's own.

    `root` is the repository's path, for the cleaning of paths; `site` is where the record was made, and is
    the location when no frame of the exception lies inside the repository.
    """
    error_type, error_message = "", ""
    trace: tuple[Frame, ...] = ()
    if error is not None:
        leaf = only_member(error)
        error_type = type_name(leaf)
        error_message = clean_text(text_of(leaf), repository=root, max_chars=MAX_MESSAGE_CHARS)
        trace = repository.trace(error)
    return Occurrence(
        at_unix_ns=time.time_ns(),
        severity_number=severity_number,
        severity_text=severity_text,
        logger=clean_text(logger, repository=root, max_chars=MAX_NAME_CHARS),
        message=clean_text(message, repository=root, max_chars=MAX_MESSAGE_CHARS) or error_message or error_type,
        exception_type=error_type,
        exception_message=error_message,
        location=trace[-1] if trace else site or _NOWHERE,
        trace=trace,
        route=route,
    )


def type_name(error: BaseException) -> str:
    """Return ``module.QualName``; a built-in exception is named without its module, as a traceback does."""
    return name_of(type(error))


def name_of(kind: type) -> str:
    """Return the same of a type of exceptions."""
    module = getattr(kind, "__module__", "")
    name = kind.__qualname__
    return (name if module in ("builtins", "") or not isinstance(module, str) else f"{module}.{name}")[:MAX_NAME_CHARS]


def text_of(error: BaseException) -> str:
    """Return the exception's message; empty when it cannot say it itself."""
    try:
        return str(error)
    except Exception:  # the host's own __str__
        return ""


def only_member(error: BaseException) -> BaseException:
    """Return what a group of one, of one, ... holds: a task group around a single failure says nothing itself."""
    for _ in range(20):
        inner = members(error)
        if len(inner) != 1:
            break
        error = inner[0]
    return error


def seen_before(error: BaseException, *, severity: int, request: int, now_s: float) -> bool:
    """Tell whether this very exception object was recorded already, and mark it as recorded.

    The same object comes by several times: the host logs and re-raises it, the framework logs it, a hook
    sees it. It counts once: within one request for good, elsewhere within `_SAME_ERROR_S` (so that a
    singleton which is raised again and again still counts again). An error after a mere warning counts.
    The mark is an entry in the exception's own dictionary: ids are used again at once, and most exceptions
    take no weak reference. A class that guards its attributes is left alone, and not recognised.
    """
    if type(error).__setattr__ is not BaseException.__setattr__:
        return False
    marks = error.__dict__
    seen = marks.get(_MARK)
    marks[_MARK] = (severity, request, now_s)
    if seen is None:
        return False
    seen_severity, seen_request, seen_at_s = seen
    if seen_severity < ERROR <= severity:
        return False
    if request and seen_request:
        return bool(request == seen_request)
    return bool(now_s - seen_at_s < _SAME_ERROR_S)
