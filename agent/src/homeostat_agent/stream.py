"""Frames over a non-blocking Unix socket, with a deadline on everything. Used by both ends.

Hosts do odd things to file descriptors: a program that makes a daemon of itself closes every one
above 2, and the number is then somebody else's file. Before each use the descriptor is therefore
checked to be still the one that was opened here; a foreign one is neither written, read nor closed.
"""

from __future__ import annotations

import os
import select
import socket
import time

from homeostat_agent.protocol import FrameReader, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SLICE_S = 0.05
"""How often a wait looks whether its deadline was brought forward."""

_CHUNK_BYTES = 1 << 16

# Bound at import: a host that monkey-patches these modules later (gevent) must not get hold of our
# thread, which is a real one.
_poll = select.poll
_monotonic_s = time.monotonic
_fstat = os.fstat


class Descriptor:
    """An open file descriptor, and how to tell whether its number is still ours."""

    def __init__(self, number: int) -> None:
        self.number = number
        status = _fstat(number)
        self._identity = (status.st_dev, status.st_ino)

    def is_ours(self) -> bool:
        """Whether nobody closed it, or put something else in its place."""
        try:
            status = _fstat(self.number)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity


class FramedSocket:
    """A connected stream socket that sends and receives whole frames.

    One thread may send while another receives; two must not do the same. After any
    `ProtocolError` the only thing left to do is `close`.
    """

    def __init__(self, connected: socket.socket, *, slice_s: float = _SLICE_S) -> None:
        """`slice_s` is how often a deadline is asked again; an end whose deadlines stand needs it seldom."""
        connected.setblocking(False)
        self._slice_s = slice_s
        self._socket = connected
        self._descriptor = Descriptor(connected.fileno())
        self.reader = FrameReader()

    def send(self, frame: bytes, *, deadline_s: Callable[[], float]) -> None:
        """Send a whole frame; `timeout` when the deadline (monotonic, asked again and again) passes.

        A frame that was sent in part makes the stream useless, which is why every failure ends it.
        """
        left = memoryview(frame)
        while left:
            self._check_ours()
            try:
                sent = self._socket.send(left)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise ProtocolError("closed", str(error)) from error
            if sent:
                left = left[sent:]
            else:
                self._wait(select.POLLOUT, deadline_s)

    def wait_readable(self, *, deadline_s: Callable[[], float], wake: Descriptor) -> bool:
        """Wait until there is something to `receive`; False when the deadline passed or `wake` became readable."""
        self._check_ours()
        return self.reader.has_body() or self._wait_readable(deadline_s, wake)

    def receive(self, *, deadline_s: Callable[[], float]) -> bytes | None:
        """Return the next frame's body, or None when the deadline passed.

        At least one look at the socket is taken, so a deadline in the past polls. `closed` when the
        peer ended the stream between frames, `truncated` within one.
        """
        while True:
            body = self.reader.next_body()
            if body is not None:
                return body
            self._check_ours()
            try:
                data = self._socket.recv(_CHUNK_BYTES)
            except BlockingIOError:
                if not self._wait_readable(deadline_s, None):
                    return None
                continue
            except OSError as error:
                raise ProtocolError("closed", str(error)) from error
            if not data:
                raise ProtocolError("truncated" if self.reader.mid_frame else "closed", "the other end closed")
            self.reader.feed(data)

    def receive_by(self, deadline_s: Callable[[], float]) -> bytes:
        """Return the next frame's body; `timeout` when there is none in time."""
        body = self.receive(deadline_s=deadline_s)
        if body is None:
            raise ProtocolError("timeout", "no frame in time")
        return body

    def shut(self) -> None:
        """End the stream from any thread, so that the one that waits on it finds it closed."""
        if self._descriptor.is_ours():
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the peer was faster

    def close(self) -> None:
        """Close the descriptor if it is still ours; idempotent. For the thread that receives."""
        if self._descriptor.is_ours():
            self._socket.close()
        else:
            self._socket.detach()

    def _check_ours(self) -> None:
        if not self._descriptor.is_ours():
            raise ProtocolError("descriptor-taken", "the program closed our socket")

    def _wait(self, events: int, deadline_s: Callable[[], float]) -> None:
        poller = _poll()
        poller.register(self._descriptor.number, events)
        while True:
            left_s = deadline_s() - _monotonic_s()
            if left_s <= 0:
                raise ProtocolError("timeout", "the other end does not read")
            if poller.poll(min(left_s, self._slice_s) * 1000):
                return

    def _wait_readable(self, deadline_s: Callable[[], float], wake: Descriptor | None) -> bool:
        """Wait for bytes; False when the time is up or somebody woke us."""
        poller = _poll()
        poller.register(self._descriptor.number, select.POLLIN)
        if wake is not None and wake.is_ours():
            poller.register(wake.number, select.POLLIN)
        while True:
            left_s = deadline_s() - _monotonic_s()
            if left_s <= 0:
                return False
            # With a wake-up there is no need to look at the deadline in between.
            ready = poller.poll((left_s if wake is not None else min(left_s, self._slice_s)) * 1000)
            if ready:
                return not any(number != self._descriptor.number for number, _ in ready)


class Wake:
    """Lets any thread end the wait of one: a pipe whose ends are checked like every descriptor here."""

    def __init__(self) -> None:
        self._open()

    def _open(self) -> None:
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        os.set_blocking(write_end, False)
        self.descriptor = Descriptor(read_end)
        self._write_end = Descriptor(write_end)

    def set(self) -> None:
        """End the present wait, or the next one."""
        if self._write_end.is_ours():
            try:
                os.write(self._write_end.number, b"!")
            except OSError:
                pass  # full: it is set already; closed: nobody waits any more

    def clear(self) -> None:
        """Forget that it was set. A pipe that the program closed is made anew; `OSError` when it cannot be."""
        if not (self.descriptor.is_ours() and self._write_end.is_ours()):
            self.close()
            self._open()
            return
        try:
            os.read(self.descriptor.number, 512)
        except OSError:
            pass  # it was not set

    def wait(self, timeout_s: float) -> None:
        """Wait until it is set or the time is up."""
        if not self.descriptor.is_ours():
            # Without a wake-up we still may not spin.
            time.sleep(min(timeout_s, _SLICE_S))
            return
        poller = _poll()
        poller.register(self.descriptor.number, select.POLLIN)
        poller.poll(max(timeout_s, 0.0) * 1000)

    def close(self) -> None:
        """Give back the ends that are still ours."""
        for end in (self.descriptor, self._write_end):
            if end.is_ours():
                os.close(end.number)
