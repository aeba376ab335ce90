"""One process of a supervised program: tells its supervisor that it is there, and answers what it is asked.

A thread of its own waits on the connection; it costs nothing while nobody asks. When the connection is
lost it is made anew: the supervisor may have been killed, and another one takes the program over.
"""

from __future__ import annotations

import os
import signal
import threading

from homeostat_agent.handover.claims import Claims
from homeostat_agent.handover.retiring import Retirement, ends_gracefully
from homeostat_agent.handover.sockets import connections, listeners, watched
from homeostat_agent.handover.wire import MAX_DESCRIPTORS, HandoverError, close_all, connect, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from typing import Any

HELLO_S = 2.0
_RETRY_S = 0.5
_RETRY_MAX_S = 5.0
_FORK_SETTLE_S = 0.25
"""A forked child calls after this: most that are about to `exec` have done so by then."""

_STDERR = 2
_SHUT_RDWR = 2
_Event = threading.Event
_Thread = threading.Thread


class Member:
    """The supervised side of this process. Never raises into the program."""

    def __init__(self, door: str, launch_id: str, *, connected: Callable[[], bool]) -> None:
        self._door = door
        self._launch_id = launch_id
        self._connected = connected
        self._claims = Claims(door, launch_id)
        self._retirement = Retirement(os.path.dirname(door))
        self._begun = False
        self._closed = False
        self._line: socket.socket | None = None

    def start(self) -> None:
        """Install the hooks, say hello, and answer from a thread.

        The first hello is waited for (a millisecond): what it is answered must be known before the
        program binds a socket.
        """
        self._claims.install()
        self._call()
        self._start_thread(after_s=0.0)

    def close(self) -> None:
        """Let go of the program: no hooks, no line."""
        self._closed = True
        self._claims.uninstall()
        line = self._line
        if line is not None:
            try:
                line.shutdown(_SHUT_RDWR)  # the thread closes it
            except OSError:
                pass

    def become_forked_child(self) -> None:
        """Be a process of our own, with a line of our own to the supervisor."""
        if self._line is not None:
            self._line.close()
            self._line = None
        self._claims.forget()
        self._start_thread(after_s=_FORK_SETTLE_S)

    def _start_thread(self, *, after_s: float) -> None:
        thread = _Thread(target=self._serve, args=(os.getpid(), after_s), name="homeostat-handover", daemon=True)
        thread.start()

    def _serve(self, pid: int, after_s: float) -> None:
        # Signals are the program's: taken here, they would not wake what its main thread waits in.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pause, wait_s = _Event(), after_s
        while not self._closed:
            if wait_s:
                pause.wait(wait_s)
            wait_s = min(max(wait_s * 2, _RETRY_S), _RETRY_MAX_S)
            if os.getpid() != pid or (self._line is None and not self._call()):
                continue
            wait_s = _RETRY_S
            try:
                self._converse()
            except Exception:  # the edge to the host: whatever it was, the line is made anew
                pass
            line, self._line = self._line, None
            if line is not None:
                line.close()

    def _call(self) -> bool:
        """Connect and say hello; False when there is no supervisor to hear it."""
        line = None
        try:
            line = connect(self._door)
            hello = {"role": "agent", "launch": self._launch_id, "pid": os.getpid(), "ppid": os.getppid()}
            send(line, hello)
            answer, given = receive(line, timeout_s=HELLO_S)
            close_all(given)
        except (HandoverError, OSError):
            if line is not None:
                line.close()
            return False
        if answer.get("successor") is True and not self._begun:
            self._begun = True
            keep = answer.get("keep")
            self._claims.begin([path for path in keep if isinstance(path, str)] if isinstance(keep, list) else [])
        self._line = line
        return True

    def _converse(self) -> None:
        line = self._line
        assert line is not None
        while True:
            asked, given = receive(line, timeout_s=None)
            try:
                answer, handed = self._answer(asked, given)
            finally:
                close_all(given)
            try:
                send(line, answer, handed)
            except HandoverError:
                if not handed:
                    raise
                send(line, {"error": "the descriptors cannot be sent"})

    def _answer(self, asked: Mapping[str, Any], given: list[int]) -> tuple[dict[str, Any], list[int]]:
        what = asked.get("do")
        if what == "look":
            return self._look(), []
        if what == "hand-over":
            return self._hand_over()
        if what == "holds":
            return {"holds": self._holds(asked)}, []
        if what == "settle":
            self._claims.settle()
            if given:
                os.dup2(given[0], _STDERR)
            return {}, []
        if what == "park":
            found = listeners()
            self._claims.keep_paths([item.address for item in found if isinstance(item.address, str)])
            return {"parked": self._retirement.park(found)}, []
        if what == "connections":
            found_open = self._retirement.open_connections()
            busy, unread = sum(not item.idle for item in found_open), sum(item.unread for item in found_open)
            return {"busy": busy, "unread": unread}, []
        return {"error": "this is not known here"}, []

    def _look(self) -> dict[str, Any]:
        waited_on = watched()
        shown: dict[int, dict[str, Any]] = {}
        for item in listeners():
            shown[item.inode] = {
                "inode": item.inode,
                "family": item.family,
                "address": item.address,
                "any_port": item.inode in self._claims.any_port,
                "served": "accept" if item.inode in waited_on else self._claims.seen(item.inode),
            }
        return {"listeners": list(shown.values()), "connected": self._connected(), "graceful": ends_gracefully()}

    def _hand_over(self) -> tuple[dict[str, Any], list[int]]:
        look = self._look()
        descriptors = {item.inode: item.descriptor for item in listeners()}
        look["listeners"] = [item for item in look["listeners"] if item["inode"] in descriptors][:MAX_DESCRIPTORS]
        return look, [descriptors[item["inode"]] for item in look["listeners"]]

    def _holds(self, asked: Mapping[str, Any]) -> bool:
        at = {(item.family, item.address) for item in listeners()}
        return any(item.peer == asked.get("peer") for item in connections(at))
