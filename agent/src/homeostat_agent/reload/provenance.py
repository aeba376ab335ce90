"""Which of two sources the statements of a loaded module ran from, where that cannot be seen from its functions.

A statement that ran twice may have registered something twice, and one that did not run at all is stale. So what runs
again does so only where it is known that the old source ran: by what was noted here when a change was carried out, or
by what the disk says of the file and the looks at the loaded modules of their age.
"""

from __future__ import annotations

import os
import tokenize
import weakref
from types import ModuleType
from typing import Any

from homeostat_agent.firstseen import FirstSeen
from homeostat_agent.reload.census import Load
from homeostat_agent.reload.values import NEW, OLD


class Provenance:
    """What is known of the modules of one process. Keeps none of them alive."""

    def __init__(self, seen: FirstSeen | None = None) -> None:
        self._seen = seen
        self._noted: dict[int, tuple[weakref.ref[ModuleType], Any, str]] = {}

    def note(self, module: ModuleType, source: str) -> None:
        """Note that the module is as its statements of this source make it."""
        self._noted[id(module)] = (weakref.ref(module), module.__spec__, source)

    def noted(self, module: ModuleType | None, sources: tuple[str, str]) -> str:
        """Tell which of both sources was noted; empty where it was neither."""
        known = self._noted.get(id(module))
        if module is None or known is None or known[0]() is not module or known[1] is not module.__spec__:
            return ""
        return OLD if known[2] == sources[0] else NEW if known[2] == sources[1] else ""

    def on_disk(self, load: Load, sources: tuple[str, str]) -> str:
        """Tell by the file: it got the new source when the module was there already. Empty: that cannot be said."""
        since_ns = None
        if load.module is not None and self._seen is not None:
            since_ns = self._seen.since_ns(load.name, load.module)
        if since_ns is None:
            return ""
        try:
            path = os.path.realpath(str(load.namespace.get("__file__")))
            changed_ns = os.stat(path).st_ctime_ns
            with tokenize.open(path) as file:
                text = file.read()
        except (OSError, SyntaxError, UnicodeDecodeError):
            return ""
        # Of the two only the old one can have been there before; that it was one of them is for the hub to know.
        return OLD if _lines(text) == _lines(sources[1]) and since_ns < changed_ns else ""


def _lines(text: str) -> list[str]:
    return text.lstrip("\ufeff").splitlines()
