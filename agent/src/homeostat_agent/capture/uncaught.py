"""Exceptions that nobody caught: in the main thread, in other threads, and where Python cannot raise them.

The hooks that were there before still run. asyncio needs none: its loops report through the logger
``asyncio`` with the exception, unless the host has set a handler of its own, which then has dealt with it.
"""

from __future__ import annotations

import sys
import threading

from homeostat_agent.capture.observer import Observer
from homeostat_agent.capture.occurrence import ERROR, FATAL
from homeostat_agent.capture.patches import Patches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def hook(observer: Observer, patches: Patches) -> None:
    """Put our hooks before the present ones."""
    main_hook, thread_hook, unraisable_hook = sys.excepthook, threading.excepthook, sys.unraisablehook

    def excepthook(kind: Any, error: Any, traceback: Any) -> Any:
        _observe(observer, error, "sys.excepthook", FATAL)
        return main_hook(kind, error, traceback)

    def thread_excepthook(args: Any) -> Any:
        _observe(observer, args.exc_value, "threading.excepthook", ERROR)
        return thread_hook(args)

    def unraisablehook(unraisable: Any) -> Any:
        _observe(observer, unraisable.exc_value, "sys.unraisablehook", ERROR)
        return unraisable_hook(unraisable)

    patches.replace(sys, "excepthook", excepthook)
    patches.replace(threading, "excepthook", thread_excepthook)
    patches.replace(sys, "unraisablehook", unraisablehook)


def _observe(observer: Observer, error: Any, where: str, severity: int) -> None:
    # An interrupt or an exit is somebody's wish, not an error.
    if isinstance(error, BaseException) and not isinstance(error, (KeyboardInterrupt, SystemExit)):
        observer.escaped(error, where, severity=severity)
