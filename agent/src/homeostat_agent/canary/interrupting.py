"""Ends code of the host that runs in a thread of ours and takes too long."""

from __future__ import annotations

import ctypes
import threading


class Interrupted(BaseException):
    """Raised inside of the code that is ended, at its next step in Python. Code in C comes to its end first."""


def interrupt(thread: threading.Thread) -> None:
    """Raise `Interrupted` in a thread, soon; it may come later than what it was meant for."""
    if thread.ident is not None and thread.is_alive():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Interrupted))
