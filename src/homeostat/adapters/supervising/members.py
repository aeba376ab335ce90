"""The processes of a supervised program that have called their supervisor, and what they answer."""

import os
import select
import signal
import socket
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from homeostat_agent.handover.wire import HandoverError, close_all, receive, send

ANSWER_S = 2.0
"""An agent answers in a millisecond; one whose program holds the interpreter for longer is no help."""

Address = str | tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """One listening socket of a program, as its processes describe it."""

    inode: int
    family: str
    address: Address
    any_port: bool
    """The program asked for any free port and was given this one."""

    def words(self) -> str:
        """Name it for people."""
        if isinstance(self.address, str):
            return self.address
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one process said of itself."""

    pid: int
    ppid: int
    listening: tuple[Listening, ...]
    served: Mapping[int, str]
    """Inode → ``accept`` (it waits for connections there), ``listen`` (it may), or nothing."""

    connected: bool
    graceful: bool


class Member:
    """One process's line. Any thread may ask; one question at a time."""

    def __init__(self, line: socket.socket, *, launch_id: str, pid: int, ppid: int) -> None:
        self.launch_id = launch_id
        self.pid = pid
        self.ppid = ppid
        self.served = False
        """Whether it was ever seen to serve; its end is then a disturbance."""

        self._line = line
        self._asking = threading.Lock()
        self._process: int | None = None
        with suppress(OSError):
            self._process = os.pidfd_open(pid)

    def ask(
        self, question: Mapping[str, Any], descriptors: Sequence[int] = ()
    ) -> tuple[Mapping[str, Any], list[int]] | None:
        """Return its answer, None when there is none in time; then the line is of no use any more."""
        with self._asking:
            try:
                send(self._line, question, descriptors)
                return receive(self._line, timeout_s=ANSWER_S)
            except (HandoverError, OSError, ValueError):
                with suppress(OSError):
                    self._line.shutdown(socket.SHUT_RDWR)
                return None

    def is_gone(self) -> bool:
        """Tell whether the other end has closed the line, or the process has ended."""
        waiting = select.poll()
        waiting.register(self._line.fileno(), select.POLLRDHUP | select.POLLHUP)
        if waiting.poll(0):
            return True
        if self._process is None:
            return False
        ended = select.poll()
        ended.register(self._process, select.POLLIN)
        return bool(ended.poll(0))

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, signal.SIGKILL)

    def close(self) -> None:
        with self._asking:
            self._line.close()
            if self._process is not None:
                os.close(self._process)
                self._process = None


class Members:
    """Every line there is, by launch. Thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._members: list[Member] = []
        self._disturbed: set[str] = set()

    def join(self, member: Member) -> None:
        with self._lock:
            again = [item for item in self._members if item.pid == member.pid]
            self._members = [item for item in self._members if item.pid != member.pid] + [member]
        for item in again:
            item.close()

    def of(self, launch_id: str) -> list[Member]:
        """Return the processes of one launch that are there; the others are let go of."""
        with self._lock:
            gone = [item for item in self._members if item.is_gone()]
            self._members = [item for item in self._members if item not in gone]
            found = [item for item in self._members if item.launch_id == launch_id]
            self._disturbed |= {item.launch_id for item in gone if item.served}
        for item in gone:
            item.close()
        return found

    def take_disturbed(self, launch_id: str) -> bool:
        """Tell whether a process of this launch that had served ended since the last call."""
        with self._lock:
            found = launch_id in self._disturbed
            self._disturbed.discard(launch_id)
            return found

    def close(self) -> None:
        with self._lock:
            members, self._members = self._members, []
        for item in members:
            item.close()


def looks(members: Iterable[Member]) -> list[Look]:
    """Ask every process what it listens on; those that do not answer are left out."""
    found = []
    for member in members:
        answered = member.ask({"do": "look"})
        if answered is None:
            continue
        look = read_look(member, answered[0])
        close_all(answered[1])
        if any(sign == "accept" for sign in look.served.values()):
            member.served = True
        found.append(look)
    return found


def collect(members: Iterable[Member]) -> tuple[dict[Listening, int], int]:
    """Take a duplicate of every socket that these processes listen on; return them, and how many answered."""
    sockets: dict[Listening, int] = {}
    answered_by = 0
    for member in members:
        answered = member.ask({"do": "hand-over"})
        if answered is None:
            continue
        look, given = read_look(member, answered[0]), answered[1]
        if len(look.listening) != len(given):
            close_all(given)
            continue
        answered_by += 1
        known = {item.inode: item for item in sockets}
        for item, descriptor in zip(look.listening, given, strict=True):
            before = known.get(item.inode)
            if before is None:
                sockets[item] = descriptor
                continue
            os.close(descriptor)
            if item.any_port and not before.any_port:  # only the process that bound it knows
                sockets[item] = sockets.pop(before)
    return sockets, answered_by


def unserved(wanted: Iterable[Listening], seen: Sequence[Look]) -> tuple[str, ...]:
    """Return the addresses of `wanted` at which no process of the new program accepts connections.

    That a process *listens* counts only where it has no children that might be the ones who serve.
    """
    parents = {look.ppid for look in seen}
    missing = []
    for item in wanted:
        served = False
        for look in seen:
            inodes = {one.inode for one in look.listening if _is_at(one, item)}
            signs = {look.served.get(inode, "") for inode in inodes}
            served |= "accept" in signs or ("listen" in signs and look.pid not in parents)
        if not served:
            missing.append(item.words())
    return tuple(missing)


def read_look(member: Member, answer: Mapping[str, Any]) -> Look:
    """Read what a process said; what is not as it should be is left out."""
    listening, served = [], {}
    items = answer.get("listeners")
    for item in items if isinstance(items, list) else []:
        try:
            raw = item["address"]
            address: Address = raw if isinstance(raw, str) else (str(raw[0]), int(raw[1]))
            one = Listening(
                inode=int(item["inode"]),
                family=str(item["family"]),
                address=address,
                any_port=item["any_port"] is True,
            )
            served[one.inode] = str(item["served"])
        except (KeyError, TypeError, ValueError, IndexError):
            continue
        listening.append(one)
    return Look(
        pid=member.pid,
        ppid=member.ppid,
        listening=tuple(listening),
        served=served,
        connected=answer.get("connected") is True,
        graceful=answer.get("graceful") is True,
    )


def _is_at(one: Listening, wanted: Listening) -> bool:
    """Tell whether a socket of the new program is where one of the old was: the same one, or another there."""
    return one.inode == wanted.inode or (one.family == wanted.family and one.address == wanted.address)
