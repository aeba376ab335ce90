"""Asks the new process itself whether it is well, at a socket that it shares with the old one.

Either process may accept a connection. So it is made first, the new processes are asked whether one of them
holds it (each knows its own descriptors), and only then the request is sent. One that the old process
holds is closed without a word, and another one is tried.
"""

import os
import re
import socket
import time
from collections.abc import Iterable

from homeostat_agent.handover.sockets import peer_name

from homeostat.adapters.supervising.members import Listening, Member

_CONNECT_S = 1.0
_ANSWER_S = 10.0
_HOLD_LOOKS = (0.002, 0.01, 0.03, 0.06)
_MAX_HEAD_BYTES = 64 << 10
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - the address of a socket, to which we connect


def probe(path: str, wanted: Iterable[Listening], members: Iterable[Member]) -> str | None:
    """GET `path` once; empty when the new process answered 2xx at one of its addresses.

    Else why not, or None when the old process had the connection.
    """
    asked = list(members)
    found: str | None = None
    for item in wanted:
        answer = _ask(path, item, asked)
        if answer == "":
            return ""
        found = answer if answer is not None else found
    return found


def _ask(path: str, item: Listening, members: list[Member]) -> str | None:
    try:
        with _connect(item) as connection:
            if not _is_held(peer_name(connection.getsockname()), members):
                return None
            host = item.words() if not isinstance(item.address, str) else "localhost"
            lines = (f"GET {path} HTTP/1.1", f"Host: {host}", "User-Agent: homeostat", "Connection: close", "", "")
            connection.settimeout(_ANSWER_S)
            connection.sendall("\r\n".join(lines).encode("utf-8"))
            return _judge(path, _head(connection))
    except OSError as error:
        return f"{path} was not answered: {error.strerror or type(error).__name__}"


def _connect(item: Listening) -> socket.socket:
    if isinstance(item.address, str):
        connection = socket.socket(socket.AF_UNIX)
        connection.bind("")  # a name that the kernel draws, by which the connection is known at its other end
        target: object = "\0" + item.address[1:] if item.address.startswith("@") else item.address
    else:
        connection = socket.socket(socket.AF_INET if item.family == "inet" else socket.AF_INET6)
        target = (_ANY.get(item.address[0], item.address[0]), item.address[1])
    try:
        connection.settimeout(_CONNECT_S)
        connection.connect(target)  # type: ignore[arg-type]
    except BaseException:
        connection.close()
        raise
    return connection


def _is_held(name: str, members: list[Member]) -> bool:
    for pause_s in _HOLD_LOOKS:
        time.sleep(pause_s)
        for member in members:
            answered = member.ask({"do": "holds", "peer": name})
            if answered is not None:
                for descriptor in answered[1]:
                    os.close(descriptor)
                if answered[0].get("holds") is True:
                    return True
    return False


def _head(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n" not in data and len(data) < _MAX_HEAD_BYTES:
        more = connection.recv(4096)
        if not more:
            break
        data += more
    return data


def _judge(path: str, head: bytes) -> str:
    status = _STATUS.match(head)
    if status is None:
        return f"{path} was not answered in HTTP"
    return "" if status[1].startswith(b"2") else f"{path} was answered with {status[1].decode()}"
