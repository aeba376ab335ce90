"""Messages between a program's processes and its supervisor: JSON and descriptors, one packet each.

A Unix socket of packets: a message arrives whole, with its descriptors, or not at all. Both ends use
this module, and both check that the other has the same user (or is root).
"""

from __future__ import annotations

import array
import json
import os
import select
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

MAX_BYTES = 128 << 10
MAX_DESCRIPTORS = 64

# Bound at import: a host that monkey-patches these modules later (gevent) must not get hold of our thread.
_Socket = socket.socket
_poll = select.poll


class HandoverError(Exception):
    """The other end is gone, does not answer in time, or is not what it should be."""


def packet_socket() -> socket.socket:
    """Return a new socket of the kind used here."""
    return _Socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def connect(path: str) -> socket.socket:
    """Connect to a supervisor's door; `HandoverError` when there is none of ours."""
    connecting = packet_socket()
    try:
        connecting.setblocking(False)  # a full backlog must not hold up a program
        connecting.connect(path)
        check_peer(connecting)
    except OSError as error:
        connecting.close()
        raise HandoverError(f"no supervisor answers: {error.strerror}") from error
    except HandoverError:
        connecting.close()
        raise
    return connecting


def check_peer(connected: socket.socket) -> int:
    """Return the peer's pid; `HandoverError` when it is another user's process."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", raw)
    if uid not in (0, os.geteuid()):
        raise HandoverError(f"the other end belongs to user {uid}")
    return int(pid)


def send(connected: socket.socket, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send one message. It fits into the socket's buffer, or the other end does not read: `HandoverError`."""
    body = json.dumps(message, separators=(",", ":")).encode("utf-8")
    if len(body) > MAX_BYTES:
        raise HandoverError("the message is too long")
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    try:
        connected.sendmsg([body], rights, socket.MSG_NOSIGNAL)
    except OSError as error:
        raise HandoverError(f"the other end cannot be reached: {error.strerror}") from error


def receive(connected: socket.socket, *, timeout_s: float | None) -> tuple[dict[str, Any], list[int]]:
    """Return the next message and its descriptors, which are not inheritable and now the caller's.

    `HandoverError` when the time is up (None: never), the other end is gone, or it is no message.
    """
    waiting = _poll()
    waiting.register(connected.fileno(), select.POLLIN)
    if not waiting.poll(None if timeout_s is None else max(timeout_s, 0.0) * 1000):
        raise HandoverError("no answer in time")
    room = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
    try:
        body, rights, flags, _ = connected.recvmsg(MAX_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    except OSError as error:
        raise HandoverError(f"the other end is gone: {error.strerror}") from error
    descriptors = array.array("i")
    for level, kind, data in rights:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    try:
        if not body:
            raise HandoverError("the other end is gone")
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise HandoverError("a message was cut off")
        message = json.loads(body)
        if not isinstance(message, dict):
            raise HandoverError("not a message")
    except (HandoverError, ValueError, RecursionError) as error:
        close_all(descriptors)
        raise error if isinstance(error, HandoverError) else HandoverError("not a message") from None
    return message, list(descriptors)


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors that nobody wants."""
    for descriptor in descriptors:
        try:
            os.close(descriptor)
        except OSError:
            pass
