"""Keeps a process that is about to be ended from taking new connections, while it serves those it has.

Each listening descriptor is taken out of the process's epolls, and a socket to which nobody connects is
put in its place. Servers go on as before and find nothing to accept; the socket itself, and whatever
waits in its queue, belongs to the process that came after.
"""

from __future__ import annotations

import os
import socket

from homeostat_agent.handover.sockets import Connection, Listener, connections, unwatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PARKED_PREFIX = "parked-"
"""How the files of dead ends begin; the supervisor removes them."""

_SIGTERM_BIT = 1 << 14
_Socket = socket.socket


class Retirement:
    """One process on its way out. Dead ends of Unix sockets get files in `folder`."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._at: set[tuple[str, str | tuple[str, int]]] = set()
        self._nowhere: dict[tuple[str, bool], socket.socket] = {}

    def park(self, found: Sequence[Listener]) -> int:
        """Take these listeners away from the process; return how many."""
        for listener in found:
            self._at.add((listener.family, listener.address))
            number = listener.descriptor
            inheritable, blocking = os.get_inheritable(number), os.get_blocking(number)
            unwatch(number)
            os.dup2(self._dead_end(listener.family, blocking).fileno(), number, inheritable=inheritable)
        return len(found)

    def open_connections(self) -> list[Connection]:
        """Return the connections that came in before."""
        return connections(self._at)

    def close(self) -> None:
        """Close the dead ends; where one stands in a listener's place, it stays."""
        for nowhere in self._nowhere.values():
            nowhere.close()
        self._nowhere.clear()

    def _dead_end(self, family: str, blocking: bool) -> socket.socket:
        """Return a listening socket to which nobody connects.

        It is of the same family and has a name: servers look at it when they end (gunicorn removes
        the file of a Unix socket, and would fail over one without).
        """
        known = self._nowhere.get((family, blocking))
        if known is not None:
            return known
        if family == "unix":
            nowhere = _Socket(socket.AF_UNIX, socket.SOCK_STREAM)
            path = os.path.join(self._folder, f"{PARKED_PREFIX}{os.getpid()}-{int(blocking)}")
            if os.path.exists(path):
                os.unlink(path)
            nowhere.bind(path)
        else:
            nowhere = _Socket(socket.AF_INET if family == "inet" else socket.AF_INET6, socket.SOCK_STREAM)
            nowhere.bind(("127.0.0.1" if family == "inet" else "::1", 0))
        nowhere.listen(1)
        nowhere.setblocking(blocking)
        self._nowhere[family, blocking] = nowhere
        return nowhere


def ends_gracefully() -> bool:
    """Tell whether the process has a handler for SIGTERM; without one it ends in the middle of its work."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("SigCgt:"):
                    return bool(int(line.split()[1], 16) & _SIGTERM_BIT)
    except (OSError, ValueError, IndexError):
        pass
    return False
