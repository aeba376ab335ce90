"""Ends code of the host that runs in a thread of ours and takes too long."""

from __future__ import annotations

import ctypes
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Optional

_HOLDERS = frozenset(
    {
        "_thread", "asyncio", "concurrent", "contextlib", "functools", "importlib", "linecache", "logging",
        "multiprocessing", "queue", "random", "subprocess", "tempfile", "threading", "traceback", "warnings", "weakref",
    }
)  # fmt: skip
"""Modules of Python that take locks which the whole program shares."""

_OWN = "homeostat_agent"
_ENDABLE = "homeostat_agent.canary."
_TRIES = 20
_PAUSE_S = 0.001
_sleep = time.sleep


class Interrupted(BaseException):
    """Raised inside of the code that is ended, at its next step in Python. Code in C comes to its end first."""


def interrupt(thread: threading.Thread) -> bool:
    """Raise `Interrupted` in a thread, soon; it may come later than what it was meant for.

    Returns False where that was put off, for whoever interrupts to try again: between taking a lock and the `try` after
    it an exception would leave the lock taken for ever. Those of the logging, say, are the whole program's.
    """
    ident = thread.ident
    for _ in range(_TRIES):
        if ident is None or not thread.is_alive():
            return True
        # Nothing between the look and the call lets go of the interpreter, but for a turn that ends just there.
        if not _may_hold_a_lock(sys._current_frames().get(ident)):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(Interrupted))
            return True
        _sleep(_PAUSE_S)
    return False


def _may_hold_a_lock(frame: Optional[FrameType]) -> bool:
    """Tell whether a thread is just in code that takes and gives back locks of the whole program."""
    if frame is None:
        return False
    name = frame.f_globals.get("__name__")
    if type(name) is not str:
        return False
    top = name.partition(".")[0]
    return top in _HOLDERS or (top == _OWN and not name.startswith(_ENDABLE))
