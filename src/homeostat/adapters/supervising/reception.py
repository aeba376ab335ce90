"""The supervisor's door: processes of the program call here, ask for sockets here, and so does the hub.

Every caller has a thread for as long as its question takes; the line of a process stays open and is
handed on.
"""

import os
import select
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

from homeostat_agent.handover.wire import HandoverError, check_peer, receive, send

from homeostat.adapters.agents.socket_place import Door
from homeostat.adapters.supervising.members import Member
from homeostat.core.errors import HomeostatError, Unavailable

_FIRST_WORD_S = 5.0
_LOOK_S = 0.5
_CHECK_DOOR_EVERY = 10

Answer = tuple[Mapping[str, Any], int | None]


class Reception:
    """Accepts callers until it is closed. The three callbacks are called on callers' threads.

    `on_member` is told of a process that called and returns what it is answered; `on_claim` answers a
    claim with a descriptor that is closed when it was sent; `on_hub` answers the hub.
    """

    def __init__(
        self,
        door: Door,
        *,
        on_member: Callable[[Member], Mapping[str, Any]],
        on_claim: Callable[[Mapping[str, Any]], int | None],
        on_hub: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    ) -> None:
        self._door = door
        self._on_member = on_member
        self._on_claim = on_claim
        self._on_hub = on_hub
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="supervisor-door", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join(5)

    def _accept(self) -> None:
        looks = 0
        while not self._closing.is_set():
            poller = select.poll()
            poller.register(self._door.listener, select.POLLIN)
            if poller.poll(_LOOK_S * 1000):
                try:
                    caller, _ = self._door.listener.accept()
                except OSError:
                    self._closing.wait(0.01)
                    continue
                caller.setblocking(True)
                threading.Thread(target=self._serve, args=(caller,), name="supervisor-caller", daemon=True).start()
            looks += 1
            if looks % _CHECK_DOOR_EVERY == 0 and not self._door.stands():
                try:
                    self._door.reopen()
                except Unavailable:
                    continue  # tried again at the next look

    def _serve(self, caller: socket.socket) -> None:
        kept = False
        try:
            check_peer(caller)
            asked, given = receive(caller, timeout_s=_FIRST_WORD_S)
            for descriptor in given:
                os.close(descriptor)
            role = asked.get("role")
            if role == "agent":
                member = _member(caller, asked)
                send(caller, self._on_member(member))
                kept = True
            elif role == "claim":
                self._answer_claim(caller, asked)
            elif role == "hub":
                send(caller, self._hub_answer(asked))
        except (HandoverError, OSError):
            pass  # whoever called is gone, or is nobody of ours
        finally:
            if not kept:
                caller.close()

    def _answer_claim(self, caller: socket.socket, asked: Mapping[str, Any]) -> None:
        descriptor = self._on_claim(asked)
        try:
            send(caller, {"given": descriptor is not None}, () if descriptor is None else (descriptor,))
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _hub_answer(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return self._on_hub(asked)
        except HomeostatError as error:
            return {"error": error.code, "message": error.message}
        except (KeyError, TypeError, ValueError) as error:
            return {"error": "bad-request", "message": f"{type(error).__name__} in what was asked"}


def _member(caller: socket.socket, hello: Mapping[str, Any]) -> Member:
    launch, pid, ppid = hello.get("launch"), hello.get("pid"), hello.get("ppid")
    if not isinstance(launch, str) or not isinstance(pid, int) or not isinstance(ppid, int):
        raise HandoverError("a hello names launch, pid and parent")
    return Member(caller, launch_id=launch, pid=pid, ppid=ppid)
