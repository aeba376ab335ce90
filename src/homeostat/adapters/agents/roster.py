"""Which processes are attached: connected ones, and those whose connection was lost a moment ago."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from homeostat.core.ids import ProcessId
from homeostat.model.process import HostProcess

_MAX_REMEMBERED = 10_000
MAX_NAMES = 32
"""Process ids under which one process of the system may call; each program that it becomes by `exec` takes another."""

Link = TypeVar("Link")


class ForeignLaunch(Exception):
    """A process is listed under another launch: this key does not speak for it."""


class ForeignProcess(Exception):
    """The kernel says that this is another process than the one that is listed under the id, which is still there."""


class TooManyNames(Exception):
    """One process of the system calls itself by ever new ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end of a connection, as the kernel says."""

    pid: int
    """0 where it does not: a process in another pid namespace."""

    started: str | None
    is_gone: Callable[[], bool] = lambda: False
    """Tells whether that process is known to have ended."""


UNKNOWN = Peer(pid=0, started=None)


@dataclass(slots=True)
class _Entry(Generic[Link]):
    process: HostProcess
    launch_id: str
    link: Link | None
    peer: Peer
    lost_at_s: float = 0.0


class Roster(Generic[Link]):
    """The list of processes, thread safe. A `Link` is whatever reaches one; only its identity matters here.

    A process that lost its connection stays for `lease_s`, shown as not connected, so that a hub's
    hiccup or a slow reconnect is not taken for its end. One that said goodbye is gone at once.
    """

    def __init__(self, *, lease_s: float, monotonic_s: Callable[[], float]) -> None:
        self._lease_s = lease_s
        self._monotonic_s = monotonic_s
        self._changed = threading.Condition()
        self._entries: dict[ProcessId, _Entry[Link]] = {}
        self._gone: OrderedDict[ProcessId, None] = OrderedDict()
        self._names: OrderedDict[tuple[int, str | None], set[ProcessId]] = OrderedDict()

    def join(self, process: HostProcess, *, launch_id: str, link: Link, peer: Peer = UNKNOWN) -> Link | None:
        """Note a connection; return the link it takes the place of, if that process had one.

        `ForeignLaunch` when the process is listed and belongs to another launch, `ForeignProcess` when it is
        not the one that is listed, `TooManyNames` when the peer has used up its share of ids.
        """
        with self._changed:
            before = self._entries.get(process.id)
            if before is not None and before.launch_id != launch_id:
                raise ForeignLaunch(process.id)
            if before is not None and _differ(before.peer, peer) and not before.peer.is_gone():
                raise ForeignProcess(process.id)
            self._note_name(process.id, peer)
            self._entries[process.id] = _Entry(process=process, launch_id=launch_id, link=link, peer=peer)
            self._gone.pop(process.id, None)
            self._changed.notify_all()
            return before.link if before is not None else None

    def _note_name(self, process_id: ProcessId, peer: Peer) -> None:
        if not peer.pid:
            return
        known = self._names.setdefault((peer.pid, peer.started), set())
        self._names.move_to_end((peer.pid, peer.started))
        if process_id not in known and len(known) >= MAX_NAMES:
            raise TooManyNames(process_id)
        known.add(process_id)
        while len(self._names) > _MAX_REMEMBERED:
            self._names.popitem(last=False)

    def lose(self, process_id: ProcessId, *, link: Link, for_good: bool) -> bool:
        """Note the end of a connection; False when another one has taken its place meanwhile."""
        with self._changed:
            entry = self._entries.get(process_id)
            if entry is None or entry.link is not link:
                return False
            if for_good:
                self._forget(process_id, ended=True)
            else:
                entry.link = None
                entry.lost_at_s = self._monotonic_s()
                entry.process = replace(entry.process, connected=False)
            self._changed.notify_all()
            return True

    def expire(self) -> bool:
        """Drop processes whose lease is over, and those that are known to have ended; True when there were any."""
        with self._changed:
            end_s = self._monotonic_s() - self._lease_s
            lost = [(key, entry) for key, entry in self._entries.items() if entry.link is None]
            over = [(key, ended) for key, entry in lost if (ended := entry.peer.is_gone()) or entry.lost_at_s <= end_s]
            for process_id, ended in over:
                self._forget(process_id, ended=ended)
            if over:
                self._changed.notify_all()
            return bool(over)

    def update(self, process_id: ProcessId, *, generation: int, changes: tuple[str, ...]) -> bool:
        """Note what a process says is in force in it; True when that is news."""
        with self._changed:
            entry = self._entries.get(process_id)
            if entry is None:
                return False
            before = entry.process
            entry.process = replace(before, generation=generation, changes=changes)
            return entry.process != before

    def find(self, process_id: ProcessId) -> tuple[HostProcess, Link | None] | None:
        with self._changed:
            entry = self._entries.get(process_id)
            return None if entry is None else (entry.process, entry.link)

    def processes(self) -> Sequence[HostProcess]:
        """Return all, oldest first; `expire` first drops those whose lease is over."""
        with self._changed:
            return sorted((entry.process for entry in self._entries.values()), key=lambda item: item.started_at)

    def links(self) -> Sequence[Link]:
        with self._changed:
            return [entry.link for entry in self._entries.values() if entry.link is not None]

    def launch_ids(self) -> frozenset[str]:
        with self._changed:
            return frozenset(entry.launch_id for entry in self._entries.values())

    def wait_until_connected(self, process_ids: Iterable[ProcessId], *, timeout_s: float) -> bool:
        """Block until each is connected or known to have ended; False when the time ran out."""
        wanted = tuple(process_ids)
        with self._changed:
            return self._changed.wait_for(lambda: all(map(self._settled, wanted)), timeout=max(timeout_s, 0.0))

    def _settled(self, process_id: ProcessId) -> bool:
        entry = self._entries.get(process_id)
        return entry.link is not None if entry is not None else process_id in self._gone

    def _forget(self, process_id: ProcessId, *, ended: bool) -> None:
        del self._entries[process_id]
        if not ended:
            return  # it may be stopped, and go on
        self._gone[process_id] = None
        while len(self._gone) > _MAX_REMEMBERED:
            self._gone.popitem(last=False)


def _differ(one: Peer, other: Peer) -> bool:
    return bool(one.pid and other.pid) and (one.pid, one.started) != (other.pid, other.started)
