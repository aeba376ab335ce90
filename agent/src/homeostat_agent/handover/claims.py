"""Puts a socket that was handed over where the program binds the same address, and sees who waits on it.

`bind`, `listen` and `accept` are replaced on `socket.socket`, `register` on the class that every selector of
the standard library goes through: asyncio, uvloop, uvicorn, gunicorn, werkzeug, waitress and socketserver
all pass here. Whatever goes wrong, the program's own call is made.

A server of `socketserver` waits for a connection and then accepts it, on a socket that blocks. With two
processes at one socket the slower of the two would be stuck there, so such a socket is made not to block:
`socketserver` takes a failed accept for nothing to do.
"""

from __future__ import annotations

import functools
import os
import selectors
import socket
import socketserver

from homeostat_agent.capture.failures import Failures
from homeostat_agent.capture.patches import Patches
from homeostat_agent.handover.sockets import address_of
from homeostat_agent.handover.wire import HandoverError, close_all, connect, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

CLAIM_S = 2.0
"""How long a program's `bind` may wait for the supervisor's answer, which takes a millisecond."""

_INTERNET = (socket.AF_INET, socket.AF_INET6)
_Socket = socket.socket
_getaddrinfo = socket.getaddrinfo


class Claims:
    """The hooks of one process. Nothing here raises into the program."""

    def __init__(self, door: str, launch_id: str) -> None:
        self.any_port: set[int] = set()
        """Inodes of sockets that were bound to port 0: the next process asks for port 0 again."""

        self._door = door
        self._launch_id = launch_id
        self._failures = Failures()
        self._always = Patches(self._failures)
        self._while_new = Patches(self._failures)
        self._claiming = False
        self._kept: frozenset[str] = frozenset()
        self._seen: dict[int, str] = {}

    def install(self) -> None:
        """Note ports that the system chose, and let two processes share a `socketserver`."""
        bind = _Socket.bind
        claims = self

        def bound(self: socket.socket, address: Any, /) -> None:
            if claims._claimed(self, address):
                return
            bind(self, address)
            claims._note_any_port(self, address)

        self._always.replace(_Socket, "bind", bound)
        serve = socketserver.BaseServer.serve_forever

        @functools.wraps(serve)
        def serve_forever(self: Any, *args: Any, **kwargs: Any) -> None:
            claims._share(self)
            serve(self, *args, **kwargs)

        self._always.replace(socketserver.BaseServer, "serve_forever", serve_forever)

    def begin(self, keep: Collection[str]) -> None:
        """Be a successor: claim what is bound, see who waits on what, and leave these paths of sockets alone."""
        self._claiming = True
        self._see("listen", "listen")
        self._see("accept", "accept")
        register = selectors._BaseSelectorImpl.register
        claims = self

        def registered(self: Any, fileobj: Any, *args: Any, **kwargs: Any) -> Any:
            key = register(self, fileobj, *args, **kwargs)
            claims._note(key.fd, "accept")
            return key

        self._while_new.replace(selectors._BaseSelectorImpl, "register", registered)
        self.keep_paths(keep)

    def uninstall(self) -> None:
        """Take every hook out again, where it is still ours."""
        self.settle()
        self._always.restore()

    def settle(self) -> None:
        """Be a program like any other again."""
        self._claiming = False
        self._while_new.restore()
        self._seen.clear()

    def forget(self) -> None:
        """Begin anew in a forked child: what the parent waits on, the child may not."""
        self._seen.clear()

    def keep_paths(self, paths: Collection[str]) -> None:
        """From now on removing one of these files does nothing: another process listens there."""
        if not paths:
            return
        self._kept = frozenset(map(os.path.abspath, paths))
        for name in ("remove", "unlink"):
            original = getattr(os, name)

            def guarded(path: Any, *, dir_fd: int | None = None, _original: Callable[..., None] = original) -> None:
                if dir_fd is None and self._is_kept(path):
                    return None
                return _original(path, dir_fd=dir_fd)

            self._while_new.replace(os, name, guarded)

    def seen(self, inode: int) -> str:
        """Return the surest sign that this process serves a listener: ``accept``, ``listen``, or nothing."""
        return self._seen.get(inode, "")

    def _see(self, name: str, sign: str) -> None:
        original = getattr(_Socket, name)
        claims = self

        @functools.wraps(original)
        def method(self: socket.socket, *args: Any) -> Any:
            claims._note(self.fileno(), sign)
            return original(self, *args)

        self._while_new.replace(_Socket, name, method)

    def _note(self, descriptor: int, sign: str) -> None:
        try:
            inode = os.fstat(descriptor).st_ino
            if self._seen.get(inode) != "accept":
                self._seen[inode] = sign
        except Exception:
            self._failures.note("handover")

    def _is_kept(self, path: Any) -> bool:
        try:
            return os.path.abspath(os.fsdecode(path)) in self._kept
        except Exception:
            return False

    def _share(self, server: Any) -> None:
        try:
            if server.socket_type == socket.SOCK_STREAM:
                os.set_blocking(server.fileno(), False)
        except Exception:
            self._failures.note("handover")

    def _note_any_port(self, bound: socket.socket, address: Any) -> None:
        try:
            if bound.family in _INTERNET and address[1] == 0:
                self.any_port.add(os.fstat(bound.fileno()).st_ino)
        except Exception:
            self._failures.note("handover")

    def _claimed(self, binding: socket.socket, address: Any) -> bool:
        """Put the handed-over socket of this address in the place of `binding`, if there is one."""
        if not self._claiming:
            return False
        try:
            wanted = _wanted(binding, address)
            if wanted is None:
                return False
            given = self._ask(wanted)
            if given is None:
                return False
            try:
                number = binding.fileno()
                os.dup2(given, number, inheritable=os.get_inheritable(number))
                if wanted.get("port") == 0:
                    self.any_port.add(os.fstat(number).st_ino)
            finally:
                os.close(given)
            return True
        except Exception:  # the edge to the host: it binds by itself
            self._failures.note("handover")
            return False

    def _ask(self, wanted: dict[str, Any]) -> int | None:
        try:
            door = connect(self._door)
        except HandoverError:
            return None
        try:
            send(door, {"role": "claim", "launch": self._launch_id, **wanted})
            _, given = receive(door, timeout_s=CLAIM_S)
        except HandoverError:
            return None
        finally:
            door.close()
        close_all(given[1:])
        return given[0] if given else None


def _wanted(binding: socket.socket, address: Any) -> dict[str, Any] | None:
    """Say which address is bound, numerically; None for what cannot be handed over."""
    if binding.type != socket.SOCK_STREAM:
        return None
    if binding.family == socket.AF_UNIX:
        return {"family": "unix", "address": address_of(address)}
    if binding.family not in _INTERNET:
        return None
    host, port = address[0], address[1]
    resolved = _getaddrinfo(host or None, port, binding.family, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)[0][4]
    family = "inet" if binding.family == socket.AF_INET else "inet6"
    return {"family": family, "address": str(resolved[0]), "port": int(resolved[1])}
