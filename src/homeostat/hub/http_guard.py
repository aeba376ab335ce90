"""The HTTP protocol of the hub's server: uvicorn's, for callers that are slow, many, or not in their right mind.

A connection that does not bring a whole request head in `MAX_HTTP_HEAD_S` is closed, drip by drip or
not at all. The time of bodies is `BodyLimit`'s business, which can answer.
"""

import asyncio

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
        self._watch()

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
