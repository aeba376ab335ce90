"""One authenticated connection to the hub, from the agent's side."""

from __future__ import annotations

import errno
import os
import socket
import time

from homeostat_agent.commands import HubClock, parse_welcome
from homeostat_agent.protocol import MAX_FRAME_BYTES, NONCE_BYTES, AgentHandshake, ProtocolError
from homeostat_agent.stream import FramedSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from homeostat_agent.protocol import Seals
    from homeostat_agent.stream import Wake

_monotonic_s = time.monotonic


class HubConnection:
    """A connection on which both ends have proved the key of this process."""

    def __init__(self, stream: FramedSocket, seals: Seals, clock: HubClock) -> None:
        self._stream = stream
        self._seals = seals
        self._clock = clock

    def hub_now_ms(self) -> int:
        """Return what the hub's monotonic clock reads now, or up to a handshake's duration more."""
        return self._clock.now_ms(_monotonic_s())

    def send(self, kind: str, payload: Mapping[str, Any], *, deadline_s: Callable[[], float]) -> None:
        """Send one sealed frame. `too-large` and `not-json` leave the connection usable, all else ends it."""
        self._stream.send(self._seals.outward.seal(kind, payload), deadline_s=deadline_s)

    def wait_readable(self, *, deadline_s: Callable[[], float], wake: Wake) -> bool:
        """Wait until there is something to receive; False when the time is up or `wake` was set."""
        return self._stream.wait_readable(deadline_s=deadline_s, wake=wake.descriptor)

    def receive(self, *, deadline_s: Callable[[], float]) -> tuple[str, dict[str, Any]] | None:
        """Return the next checked frame, or None when the time is up."""
        body = self._stream.receive(deadline_s=deadline_s)
        return None if body is None else self._seals.inward.open(body)

    def close(self) -> None:
        self._stream.close()


def dial(
    address: str,
    *,
    launch_id: str,
    key_of_launch: bytes,
    process_id: str,
    facts: Mapping[str, Any],
    deadline_s: Callable[[], float],
) -> HubConnection:
    """Connect and go through the handshake; `ProtocolError` or `OSError` when that fails in any way.

    Until the hub has proved the key, it is sent the hello and nothing else.
    """
    stream = FramedSocket(_connect(address))
    try:
        handshake = AgentHandshake(
            launch_id=launch_id,
            key_of_launch=key_of_launch,
            process_id=process_id,
            nonce=os.urandom(NONCE_BYTES),
            facts=facts,
        )
        stream.send(handshake.hello(), deadline_s=deadline_s)
        proof, seals = handshake.answer(stream.receive_by(deadline_s))
        proof_sent_s = _monotonic_s()
        stream.send(proof, deadline_s=deadline_s)
        stream.reader.limit = MAX_FRAME_BYTES
        now_ms = parse_welcome(*seals.inward.open(stream.receive_by(deadline_s)))
        return HubConnection(stream, seals, HubClock(proof_sent_s=proof_sent_s, hub_now_ms=now_ms))
    except BaseException:
        stream.close()
        raise


def _connect(address: str) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise ProtocolError("no-unix-sockets", "this platform has none")
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Non-blocking: where the hub accepts nobody and its backlog is full, a blocking connect hangs.
        connecting.setblocking(False)
        failed = connecting.connect_ex(address)
        if failed:
            raise OSError(failed, errno.errorcode.get(failed, "connect"))
    except BaseException:
        connecting.close()
        raise
    return connecting
