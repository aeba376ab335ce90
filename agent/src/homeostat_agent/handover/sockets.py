"""What this process listens on, who is connected to that, and which listeners somebody waits on.

Read from ``/proc/self/fd``, so that it does not matter who made a socket: Python, an extension
(uvloop, gevent), or a parent before a fork. Nothing is changed, and nothing is kept.
"""

from __future__ import annotations

import os
import select
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import Any

_FAMILIES = {socket.AF_INET: "inet", socket.AF_INET6: "inet6", socket.AF_UNIX: "unix"}
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - names of sockets, nothing is bound here

_TCP_INFO_BYTES = 104
_LAST_SENT_AT = 44
"""In the kernel's `tcp_info`: ms since data was last sent, an ACK was, and data was last received."""

_IDLE_MS = 1000

_Socket = socket.socket
_epoll = getattr(select, "epoll", None)


class Listener:
    """One descriptor on which connections are accepted. Several may be of one socket (`inode`)."""

    __slots__ = ("address", "descriptor", "family", "inode")

    def __init__(self, descriptor: int, inode: int, family: str, address: str | tuple[str, int]) -> None:
        self.descriptor = descriptor
        self.inode = inode
        self.family = family
        self.address = address


class Connection:
    """One connection that was accepted on a listener's address."""

    __slots__ = ("idle", "peer", "unread")

    def __init__(self, peer: str, *, unread: bool, idle: bool) -> None:
        self.peer = peer
        self.unread = unread
        """Something was sent to us that nobody has read."""
        self.idle = idle
        """The last word was ours, and it was said a while ago: a connection that is kept for later."""


def listeners() -> list[Listener]:
    """Return every stream socket of this process on which connections are accepted."""
    found = []
    for descriptor, inode in _sockets():
        with_it = _Borrowed(descriptor)
        try:
            one = with_it.borrow()
            family = _FAMILIES.get(one.family)
            if family and one.type == socket.SOCK_STREAM and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                found.append(Listener(descriptor, inode, family, address_of(one.getsockname())))
        except OSError:
            continue
        finally:
            with_it.give_back()
    return found


def connections(at: Collection[tuple[str, str | tuple[str, int]]]) -> list[Connection]:
    """Return the connections of this process that came in at these (family, address)."""
    found = []
    for descriptor, _ in _sockets():
        with_it = _Borrowed(descriptor)
        try:
            one = with_it.borrow()
            family = _FAMILIES.get(one.family)
            if not family or one.type != socket.SOCK_STREAM:
                continue
            peer = peer_name(one.getpeername())
            if _came_in(family, address_of(one.getsockname()), at):
                unread = _unread(descriptor)
                found.append(Connection(peer, unread=unread, idle=not unread and _is_answered(one)))
        except OSError:
            continue
        finally:
            with_it.give_back()
    return found


def watched() -> set[int]:
    """Return the inodes of everything that an epoll of this process waits on."""
    found: set[int] = set()
    for descriptor in _epolls():
        try:
            with open(f"/proc/self/fdinfo/{descriptor}", "rb") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[:1] != [b"tfd:"]:
                continue
            for index, word in enumerate(words):
                if word.startswith(b"ino:"):
                    text = word[4:] or words[index + 1]
                    found.add(int(text, 16))
    return found


def unwatch(descriptor: int) -> None:
    """Take a descriptor out of every epoll of this process."""
    if _epoll is None:
        return
    for number in _epolls():
        try:
            waiting = _epoll.fromfd(os.dup(number))
        except OSError:
            continue
        try:
            waiting.unregister(descriptor)
        except OSError:  # it was not in this one
            pass
        finally:
            waiting.close()


def address_of(name: Any) -> str | tuple[str, int]:
    """Return a socket's name in the one form used here: (host, port), or an absolute path.

    The path of an abstract Unix socket begins with ``@``; that of one without a name is empty.
    """
    if isinstance(name, tuple):
        return (str(name[0]), int(name[1]))
    text = os.fsdecode(name) if isinstance(name, bytes) else str(name)
    if text.startswith("\0"):
        return "@" + text[1:]
    return os.path.abspath(text) if text else ""


def peer_name(name: Any) -> str:
    """Return the name of the other end as one text."""
    address = address_of(name)
    return address if isinstance(address, str) else f"{address[0]} {address[1]}"


def _came_in(family: str, local: str | tuple[str, int], at: Collection[tuple[str, str | tuple[str, int]]]) -> bool:
    for of_family, address in at:
        if isinstance(local, str) or isinstance(address, str):
            if local == address:
                return True
        # A wildcard of IPv6 takes IPv4 connections too, under a mapped address.
        elif local[1] == address[1] and (local[0] == address[0] or address[0] in _WILDCARDS or of_family != family):
            return True
    return False


def _unread(descriptor: int) -> bool:
    import array
    import fcntl
    import termios

    waiting = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, waiting)
    return waiting[0] > 0


def _is_answered(connected: socket.socket) -> bool:
    """Tell whether nothing went either way for a while, and the last that did was sent by us."""
    if connected.family == socket.AF_UNIX:
        return False  # the kernel does not say
    told = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    sent_ms, _, received_ms = struct.unpack_from("=III", told, _LAST_SENT_AT)
    return bool(sent_ms >= _IDLE_MS and sent_ms <= received_ms)


def _sockets() -> Iterator[tuple[int, int]]:
    for number, target in _descriptors():
        if target.startswith("socket:["):
            yield number, int(target[8:-1])


def _epolls() -> Iterator[int]:
    for number, target in _descriptors():
        if target == "anon_inode:[eventpoll]":
            yield number


def _descriptors() -> Iterator[tuple[int, str]]:
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return
    for name in names:
        try:
            yield int(name), os.readlink("/proc/self/fd/" + name)
        except OSError:  # closed meanwhile
            continue


class _Borrowed:
    """A socket object on a descriptor that stays its owner's: it is never closed by us."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._socket: socket.socket | None = None

    def borrow(self) -> socket.socket:
        self._socket = _Socket(fileno=self._descriptor)
        return self._socket

    def give_back(self) -> None:
        if self._socket is not None:
            self._socket.detach()
