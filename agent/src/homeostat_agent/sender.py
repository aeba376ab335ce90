"""The one background thread of the agent: telemetry out, commands in, over one connection.

- It wakes every 0.25 s, or at once for a command; vitals are taken every second, and under a canary each time.
- Everything it waits for has a deadline. A dead, slow, refusing or returning hub is a reason to
  connect again later (0.1 s doubling to 5 s, with jitter), and never a reason to hold up the host.
- What could not be sent is kept within bounds: the ring's, one batch, and a minute of vitals.
- A record is sent at most once when the hub takes the frame; a frame cut off in the middle is sent
  again on the next connection (the hub throws away half a frame).

The thread is stopped before the program forks and started again after: a fork of a program with
threads copies locks in whatever state they are in. (Python 3.12 and later look for threads only after
that, so their DeprecationWarning about forking, hidden by default, may still show.)
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque

from homeostat_agent.commands import parse_command
from homeostat_agent.protocol import ProtocolError
from homeostat_agent.stream import Wake

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    from homeostat_agent.commands import Command
    from homeostat_agent.connection import HubConnection
    from homeostat_agent.control import Control

    Deadline = Callable[[], float]

    class Source(Protocol):
        """Where telemetry comes from; the sender knows nothing of its form."""

        def drain(self, limit: int) -> list[Any]: ...

        def encode_logs(self, records: list[Any]) -> Mapping[str, Any]: ...

        def vitals(self) -> Mapping[str, Any]:
            """Return the encoded vitals since the last call."""
            ...


TICK_S = 0.25
VITALS_EVERY_S = 1.0
CANARY_VITALS_EVERY_S = 0.2
"""While a canary runs and a hub is there to judge it: with each turn, since harm lasts until enough of it was told."""

HANDSHAKE_S = 5.0
WRITE_S = 2.0
BACKOFF_MIN_S = 0.1
BACKOFF_MAX_S = 5.0
PROVEN_S = 2.0
"""A connection that held this long was a good one: only then does the back-off begin anew."""

PAUSE_S = 0.15
BATCH_RECORDS = 200
BATCHES_PER_TURN = 20
KEPT_VITALS = 60

_monotonic_s = time.monotonic
_NEVER = float("inf")


def _at_once() -> float:
    """Return a deadline that has passed: what is there is taken, and nothing is waited for."""
    return 0.0


class Sender:
    """Owns the thread and the connection. `start`, `pause`, `resume` and `stop` are for other threads."""

    def __init__(
        self,
        *,
        source: Source,
        control: Control,
        dial: Callable[[Deadline], HubConnection],
        first_dial_after_s: float = 0.0,
    ) -> None:
        self.dropped = 0
        """Records and vitals that were given up here; the ring counts its own."""
        self.faults = 0
        """Exceptions in our own turns: each is a bug of ours that the host did not notice."""
        self.last_loss = ""
        """Why the last connection, or the last try for one, ended."""

        self._source = source
        self._control = control
        self._dial = dial
        self._connection: HubConnection | None = None
        self._batches: deque[list[Any]] = deque()
        self._vitals: deque[Mapping[str, Any]] = deque()
        now_s = _monotonic_s()
        self._next_dial_s = now_s + first_dial_after_s
        self._last_vitals_s = now_s
        self._backoff_s = BACKOFF_MIN_S
        self._connected_at_s = now_s

        self._wake = Wake()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._asked = "run"
        self._leave_by_s = _NEVER

    @property
    def connected(self) -> bool:
        return self._connection is not None

    # For other threads

    def start(self) -> None:
        """Start the thread; `RuntimeError` when the system gives none."""
        with self._lock:
            self._start_locked()

    def pause(self, timeout_s: float = PAUSE_S) -> None:
        """Bring the thread to its end so that the process can fork; state and connection are kept."""
        self._ask("pause", timeout_s)

    def resume(self) -> None:
        """Go on after `pause`."""
        with self._lock:
            if self._asked == "pause":
                self._asked = "run"
                self._leave_by_s = _NEVER
                if self._thread is None:
                    self._start_locked()

    def stop(self, timeout_s: float) -> None:
        """Send what there is, say goodbye, end. Returns after `timeout_s` at the latest."""
        self._ask("stop", timeout_s)

    def forget(self) -> None:
        """Let go of everything in a forked child: these descriptors belong to the parent's conversation."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._wake.close()

    def _ask(self, what: str, timeout_s: float) -> None:
        with self._lock:
            self._asked = what
            self._leave_by_s = _monotonic_s() + timeout_s
            thread = self._thread
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def _start_locked(self) -> None:
        thread = threading.Thread(target=self._run, name="homeostat-agent", daemon=True)
        self._thread = thread
        try:
            thread.start()
        except RuntimeError:
            self._thread = None
            raise

    # The thread

    def _run(self) -> None:
        # Signals are the program's: taken here, they would not wake what its main thread waits in.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while not self._leaving():
            self._guarded(self._turn)
            self._guarded(self._listen)

    def _leaving(self) -> bool:
        """Whether to end; then the thread has given itself up under the lock, so `resume` sees the truth."""
        with self._lock:
            asked = self._asked
            if asked == "run":
                return False
            if asked == "pause":
                self._thread = None
                return True
        self._guarded(self._farewell)
        self._lose("stopped")
        self._wake.close()
        with self._lock:
            self._thread = None
        return True

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except ProtocolError as error:
            self._lose(error.reason)
        except OSError as error:
            self._lose(f"os-error-{error.errno}")
        except Exception:  # the edge to the host: a bug of ours must not reach it, nor spin
            self.faults += 1
            self._lose("fault")

    def _deadline(self, allowed_s: float) -> Deadline:
        """Return a deadline that comes forward when the thread is asked to leave."""
        at_s = _monotonic_s() + allowed_s
        return lambda: min(at_s, self._leave_by_s)

    def _turn(self) -> None:
        self._control.give_back_lapsed()
        self._take_vitals()
        if self._connection is None and _monotonic_s() >= self._next_dial_s:
            self._connect()
        if self._connection is not None:
            self._deliver(self._connection)
            if _monotonic_s() - self._connected_at_s > PROVEN_S:
                self._backoff_s = BACKOFF_MIN_S

    def _listen(self) -> None:
        """Wait for commands until the next tick."""
        connection = self._connection
        tick = self._deadline(TICK_S)
        if connection is None:
            self._wake.wait(min(TICK_S, max(self._next_dial_s - _monotonic_s(), 0.01)))
        elif connection.wait_readable(deadline_s=tick, wake=self._wake):
            # Each system call of ours lets the program's threads in, and beside busy ones we would
            # wait 5 ms for each of them every time.
            with self._control.haste.hurried():
                received = connection.receive(deadline_s=_at_once)
                if received is not None:
                    kind, payload = received
                    if kind != "command":
                        raise ProtocolError("unexpected-type", f"the hub sent {kind}")
                    self._obey(connection, parse_command(payload))
        self._wake.clear()

    def _obey(self, connection: HubConnection, command: Command) -> None:
        if command.kind not in ("ping", "prepare"):
            # So that no interval of vitals lies half before and half after a change.
            self._take_vitals(now=True)
            self._deliver_vitals(connection)
        answer = self._control.execute(command, hub_now_ms=connection.hub_now_ms())
        connection.send("answer", answer, deadline_s=self._deadline(WRITE_S))

    def _connect(self) -> None:
        # Set first: whatever fails, the next try is later, and later still. Jitter only shortens, so
        # that a hub that came back may count on hearing of everyone within `BACKOFF_MAX_S`.
        jitter = 0.5 + os.urandom(1)[0] / 510
        self._next_dial_s = _monotonic_s() + self._backoff_s * jitter
        self._backoff_s = min(self._backoff_s * 2, BACKOFF_MAX_S)
        self._connection = self._dial(self._deadline(HANDSHAKE_S))
        self._connected_at_s = _monotonic_s()

    def _lose(self, reason: str) -> None:
        self.last_loss = reason
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _take_vitals(self, *, now: bool = False) -> None:
        at_s = _monotonic_s()
        judged = self._connection is not None and self._control.is_trying
        every_s = CANARY_VITALS_EVERY_S if judged else VITALS_EVERY_S
        if not now and at_s - self._last_vitals_s < every_s:
            return
        self._last_vitals_s = at_s
        if len(self._vitals) >= KEPT_VITALS:
            self._vitals.popleft()
            self.dropped += 1
        self._vitals.append(self._source.vitals())

    def _deliver(self, connection: HubConnection) -> None:
        for _ in range(BATCHES_PER_TURN):
            if not self._batches:
                records = self._source.drain(BATCH_RECORDS)
                if not records:
                    break
                self._batches.append(records)
            self._deliver_batch(connection)
        self._deliver_vitals(connection)

    def _deliver_batch(self, connection: HubConnection) -> None:
        """Send the oldest batch; it is let go only after its frame went out whole."""
        batch = self._batches[0]
        try:
            connection.send("logs", self._source.encode_logs(batch), deadline_s=self._deadline(WRITE_S))
        except ProtocolError as error:
            if error.reason not in ("too-large", "not-json"):
                raise
            self._batches.popleft()
            if len(batch) > 1:
                # One record that cannot go must not take the others with it.
                half = len(batch) // 2
                self._batches.extendleft((batch[half:], batch[:half]))
            else:
                self.dropped += 1
            return
        self._batches.popleft()

    def _deliver_vitals(self, connection: HubConnection) -> None:
        while self._vitals:
            try:
                connection.send("metrics", self._vitals[0], deadline_s=self._deadline(WRITE_S))
            except ProtocolError as error:
                if error.reason not in ("too-large", "not-json"):
                    raise
                self.dropped += 1
            self._vitals.popleft()

    def _farewell(self) -> None:
        """The last words: what is in the ring (the exception that ends the program, too), then goodbye."""
        if not self._batches:
            records = self._source.drain(BATCH_RECORDS)
            if records:
                self._batches.append(records)
        if self._connection is None and self._batches:
            self._connect()
        if self._connection is not None:
            self._take_vitals(now=True)
            self._deliver(self._connection)
            self._connection.send("goodbye", {}, deadline_s=self._deadline(WRITE_S))
