"""The HTTP protocol of the hub's server: uvicorn's, for callers that are slow, many, or not in their right mind.

A connection that does not bring a whole request head in `MAX_HTTP_HEAD_S` is closed, drip by drip or
not at all; one that takes nothing of its answer for as long is cut off. When all places are taken, the
connection that has waited longest for a request makes room: whoever has something to ask asks at once,
so that many idle connections, which any user of the machine can open, keep nobody out.

The time of bodies is `BodyLimit`'s business, which can answer.
"""

import asyncio
import socket

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from homeostat.core.limits import MAX_HTTP_HEAD_S

_PIECE_BYTES = 8 << 10


class GuardedProtocol(H11Protocol):
    """One connection."""

    head_s = MAX_HTTP_HEAD_S
    _head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # The kernel's own watch: whatever waits to be sent, in this program or behind it, and is not taken.
        taken_ms = int(self.head_s * 1000)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, taken_ms)
        self._watch()
        self._make_room()

    def data_received(self, data: bytes) -> None:
        # The parser holds a head to its limit only while there is more to come: so it gets it in pieces.
        while len(data) > _PIECE_BYTES and self._answered and not self.transport.is_closing():
            super().data_received(data[:_PIECE_BYTES])
            data = data[_PIECE_BYTES:]
        if not self.transport.is_closing():
            super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        # Junk behind a request that is being answered: there is no place for a second answer.
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and (self.cycle is None or self._answered):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _make_room(self) -> None:
        if self.limit_concurrency is None or len(self.connections) < self.limit_concurrency:
            return
        others = [item for item in self.connections if isinstance(item, GuardedProtocol) and item is not self]
        waiting = [(item._head_due.when(), item) for item in others if item._head_due is not None]
        if waiting:
            _, oldest = min(waiting, key=lambda pair: pair[0])
            # Counted no more from now on: the loop tells of its end only later.
            self.connections.discard(oldest)
            oldest.transport.abort()

    @property
    def _answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _watch(self) -> None:
        if not self._answered:
            self._unwatch()
        elif self._head_due is None and not self.transport.is_closing():
            # Not begun anew by what comes meanwhile: many small pieces are not a reason to wait longer.
            self._head_due = self.loop.call_later(self.head_s, self._too_slow)

    def _unwatch(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _too_slow(self) -> None:
        self._head_due = None
        self.transport.close()
