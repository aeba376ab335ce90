"""Exceptions that a program prints by itself (``traceback.print_exc()``), or renders to make an answer of them.

What goes to a stream was meant to be read by somebody: it is an error like one that was logged, unless the
request in which it was printed is answered in the 400s (frameworks print those too). What is
rendered into a text (`io.StringIO`, ``format_exc()``, a page for the browser) may be anything, so it counts
only when the request in which it was rendered is answered with a status from 500.
"""

from __future__ import annotations

import functools
import io
import sys
import traceback

from homeostat_agent.capture.failures import Failures
from homeostat_agent.capture.observer import Observer
from homeostat_agent.capture.patches import Patches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

_FILE = 4
"""Where ``print_exception`` takes its stream, when it is not given by name."""


def hook(observer: Observer, patches: Patches, failures: Failures) -> None:
    """Put ours around the two functions of `traceback` that all its others go through."""
    show, render = traceback.print_exception, traceback.format_exception

    @functools.wraps(show)
    def print_exception(*args: Any, **kwargs: Any) -> Any:
        try:
            error = _error_of(args, kwargs)
            file = kwargs["file"] if "file" in kwargs else args[_FILE] if len(args) > _FILE else None
            if error is not None and isinstance(file, io.StringIO):
                observer.suspect(error)
            elif error is not None and not _is_lost_client(error, sys._getframe(1)):
                observer.printed(error, "traceback.print_exception")
        except Exception:
            failures.note("print")
        return show(*args, **kwargs)

    @functools.wraps(render)
    def format_exception(*args: Any, **kwargs: Any) -> Any:
        try:
            error = _error_of(args, kwargs)
            if error is not None:
                observer.suspect(error)
        except Exception:
            failures.note("print")
        return render(*args, **kwargs)

    patches.replace(traceback, "print_exception", print_exception)
    patches.replace(traceback, "format_exception", format_exception)


def hook_rich(module: Any, *, observer: Observer, patches: Patches) -> None:
    """Take what ``rich.console.Console.print_exception`` prints: the exception that is being handled."""

    def then(_console: Any, _result: Any) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, Exception):
            observer.printed(error, "rich.console")

    patches.after(module.Console, "print_exception", then)


def _error_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Optional[Exception]:
    """Return what is printed: the first argument, or as before Python 3.10 the second. An interrupt is no error."""
    for told in (*args[:2], kwargs.get("value"), kwargs.get("exc")):
        if isinstance(told, Exception):
            return told
    return None


def _is_lost_client(error: Exception, caller: Any) -> bool:
    """Tell whether this is how `socketserver` says that a client went away: by printing it."""
    if caller.f_globals.get("__name__") == "traceback" and caller.f_back is not None:
        caller = caller.f_back  # print_exc
    return isinstance(error, ConnectionError) and caller.f_globals.get("__name__") == "socketserver"
