"""The sockets that are offered to a new process while it is on trial, and who gets which."""

import os
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from homeostat_agent.handover.wire import close_all

from homeostat.adapters.supervising.members import Listening


class Offers:
    """Sockets of the old process, for one launch. Thread safe; the descriptors are its own."""

    def __init__(self, launch_id: str, sockets: Mapping[Listening, int]) -> None:
        self.launch_id = launch_id
        self._lock = threading.Lock()
        self._sockets = dict(sockets)
        self._given: Counter[int] = Counter()

    @property
    def wanted(self) -> tuple[Listening, ...]:
        """Return what the new process must serve."""
        return tuple(self._sockets)

    def paths(self) -> list[str]:
        """Return the files of Unix sockets among them: they must not be removed."""
        found = [item.address for item in self._sockets if isinstance(item.address, str)]
        return [path for path in found if path and not path.startswith("@")]

    def duplicate(self, asked: Mapping[str, Any]) -> int | None:
        """Return a duplicate of the socket that was asked for, the caller's own; None when there is none.

        A program may ask twice: to see whether a port is free, and then to use it. Where several
        sockets share an address (``SO_REUSEPORT``), each is given before one is given again.
        """
        with self._lock:
            fitting = [item for item in self._sockets if _fits(item, asked)]
            if not fitting:
                return None
            chosen = min(fitting, key=lambda item: (self._given[item.inode], item.inode))
            self._given[chosen.inode] += 1
            return os.dup(self._sockets[chosen])

    def close(self) -> None:
        with self._lock:
            close_all(list(self._sockets.values()))
            self._sockets.clear()


def _fits(item: Listening, asked: Mapping[str, Any]) -> bool:
    if item.family != asked.get("family"):
        return False
    if isinstance(item.address, str):
        return item.address == asked.get("address")
    host, port = item.address
    if host != asked.get("address"):
        return False
    return port == asked.get("port") or (item.any_port and asked.get("port") == 0)
